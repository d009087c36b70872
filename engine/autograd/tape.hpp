// Reverse-mode differentiation: an op computes its result and records one closure; backward runs
// the closures from the last to the first. Each closure reads the gradient of its result and writes
// those of its inputs. A loss records nothing: it writes its argument's gradient with its value.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/tensor/lanes.hpp"
#include "engine/tensor/tensor.hpp"

namespace passnorm {

/// The gradient of one value: the first write overwrites, later ones add.
struct Gradient {
  Tensor value;
  bool written = false;
};

/// Where a closure writes: `value`, added to when `accumulate`.
struct GradientSink {
  Tensor value;
  bool accumulate = false;
};

/// A value on the tape: activation or parameter. Without `gradient` nothing above it is
/// differentiated.
struct Var {
  Tensor value;
  Lanes lanes;
  std::shared_ptr<Gradient> gradient;
  Tensor copy = {};  ///< of a weight: its value in a 16-bit type, where one is kept (ParameterSet)

  const Shape& shape() const { return value.shape(); }
  /// The place for the next contribution to this value's gradient (memory is taken on the first).
  GradientSink sink(Stream& stream) const;
  /// The same value and the same gradient under another shape.
  Var reshape(const Shape& shape) const {
    return {value.reshape(shape), lanes, gradient, copy ? copy.reshape(shape) : Tensor()};
  }
};

class Tape {
 public:
  enum class Mode { kRecord, kForwardOnly };
  /// loss_scale: factor of every loss's gradient.
  explicit Tape(Stream& stream, Mode mode = Mode::kRecord, DeviceValue<float> loss_scale = 1.0f)
      : stream_(stream), mode_(mode), loss_scale_(loss_scale) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Stream& stream() const { return stream_; }
  bool recording() const { return mode_ == Mode::kRecord; }
  DeviceValue<float> loss_scale() const { return loss_scale_; }
  /// Whether a loss of x writes x's gradient.
  bool differentiates(const Var& x) const { return recording() && x.gradient; }

  /// A result computed from inputs; it has a gradient when the tape records and one of the inputs
  /// has.
  template <class... Inputs>
  Var result(Tensor value, Lanes lanes, const Inputs&... inputs) const {
    Var y{std::move(value), lanes, nullptr};
    if (recording() && (static_cast<bool>(inputs.gradient) || ...))
      y.gradient = std::make_shared<Gradient>();
    return y;
  }

  /// Records the closure of result y; does nothing when y has no gradient. It is skipped in
  /// backward when nothing wrote y's gradient.
  void record(const Var& y, std::function<void(const Tensor& dy)> closure);

  /// Runs and drops all closures.
  void backward();

 private:
  Stream& stream_;
  Mode mode_;
  DeviceValue<float> loss_scale_;
  std::vector<std::function<void()>> closures_;
};

}  // namespace passnorm
