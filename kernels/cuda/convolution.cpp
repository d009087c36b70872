// Convolution: cuDNN's engines on channels-last memory; linear layers are matrix products.
#include "kernels/convolution.hpp"

#include "kernels/cuda/bias.hpp"
#include "kernels/cuda/cublaslt.hpp"
#include "kernels/cuda/cudnn.hpp"
#include "kernels/cuda/pad.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/cuda/workspace.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::kernels {
namespace {

using Operation = ConvProblem::Operation;

/// A weight gradient in f32 may take this much longer than one in 16 bits.
constexpr double kF32IsWorth = 1.5;

/// A tensor as a matrix.
struct Extent {
  int64_t rows, channels;
  int64_t size() const { return rows * channels; }
  bool operator==(const Extent&) const = default;
};
Extent x_of(const ConvGeometry& g) { return {g.n * g.h * g.w, g.c}; }
Extent w_of(const ConvGeometry& g) { return {g.o * g.kh * g.kw, g.c}; }
Extent y_of(const ConvGeometry& g) { return {g.n * g.oh() * g.ow(), g.o}; }

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

CopyChannels copy(const ConstView& from, Extent x, const View& to, Extent y, bool accumulate) {
  return {.x_rows = x.rows,
          .x_channels = x.channels,
          .y_rows = y.rows,
          .y_channels = y.channels,
          .x = from,
          .y = to,
          .accumulate = accumulate};
}

/// What is read: the caller's memory, or a copy where that is not aligned or of another type or
/// extent. Nothing where the caller gives nothing.
class Operand {
 public:
  Operand(CudaStream& stream, const ConstView& given, Extent has, Extent wanted, DType type)
      : direct_(!given || (given.dtype == type && has == wanted && aligned(given.data))),
        copy_(stream, direct_ ? 0 : wanted.size() * static_cast<int64_t>(size_of(type))),
        data_(direct_ ? given.data : copy_.data()) {
    if (!direct_)
      copy_channels(stream, copy(given, has, {copy_.data(), type, wanted.size()}, wanted, false));
  }
  const void* data() const { return data_; }

 private:
  bool direct_;
  Scratch<std::byte> copy_;
  const void* data_;
};

/// What is written: the caller's memory, or scratch that `deliver` copies there.
class Result {
 public:
  Result(CudaStream& stream, const View& given, Extent has, Extent wanted)
      : stream_(stream),
        given_(given),
        has_(has),
        wanted_(wanted),
        direct_(has == wanted && aligned(given.data)),
        scratch_(stream, direct_ ? 0 : wanted.size() * static_cast<int64_t>(size_of(given.dtype))) {
  }
  void* data() const { return direct_ ? given_.data : scratch_.data(); }
  void deliver() {
    if (!direct_)
      copy_channels(stream_, copy({scratch_.data(), given_.dtype, wanted_.size()}, wanted_, given_,
                                  has_, false));
  }

 private:
  CudaStream& stream_;
  View given_;
  Extent has_, wanted_;
  bool direct_;
  Scratch<std::byte> scratch_;
};

/// unrounded: whether y may be what sums are taken in.
void check_types(const ConstView& x, const ConstView& y, const ConstView& w,
                 const ConstView& w_copy, bool unrounded = false) {
  PASSNORM_CHECK(x.dtype == y.dtype || (unrounded && y.dtype == DType::kF32), name_of(x.dtype),
                 " to ", name_of(y.dtype));
  PASSNORM_CHECK(!w_copy || (w_copy.dtype == x.dtype && w_copy.size == w.size), "the copy of w is ",
                 name_of(w_copy.dtype), " of ", w_copy.size, " elements");
}

bool is_linear(const ConvGeometry& g) {
  return g.h == 1 && g.w == 1 && g.kh == 1 && g.kw == 1 && g.pad == 0;
}

}  // namespace

bool convolves(CudaStream&, DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

bool conv_may_sum(CudaStream& stream, DType dtype) {
  return stream.epilogue_statistics() && (dtype == DType::kF16 || dtype == DType::kBF16);
}

bool conv_forward(CudaStream& stream, const ConvForward& a) {
  check_convolution(a);
  check_types(a.x, a.y, a.w, a.w_copy, is_linear(a.geometry));
  const DType type = a.x.dtype;
  const ConvGeometry& given = a.geometry;
  const ConstView& weights = a.w_copy ? a.w_copy : a.w;
  if (is_linear(given)) {
    // The bias is added in f32, and the sum is rounded once.
    const bool widen = a.bias && a.y.dtype != DType::kF32;
    const Operand w(stream, weights, w_of(given), w_of(given), type);
    const Scratch<float> wide(stream, widen ? a.y.size : 0);
    stream.vendor().cublaslt().multiply({.m = given.n,
                                         .n = given.o,
                                         .k = given.c,
                                         .type = type,
                                         .result = widen ? DType::kF32 : a.y.dtype,
                                         .transpose_b = true,
                                         .bias = static_cast<bool>(a.bias),
                                         .relu = a.relu},
                                        {.a = a.x.data,
                                         .b = w.data(),
                                         .bias = a.bias ? a.bias.as<float>() : nullptr,
                                         .y = widen ? wide.data() : a.y.data});
    if (widen) cast(stream, {.x = {wide.data(), DType::kF32, a.y.size}, .y = a.y});
    return false;
  }
  const ConvGeometry g = padded(given, type);
  const Operand x(stream, a.x, x_of(given), x_of(g), type);
  const Operand w(stream, weights, w_of(given), w_of(g), type);
  const Operand bias(stream, a.bias, {1, given.o}, {1, g.o}, DType::kF32);
  Result y(stream, a.y, y_of(given), y_of(g));
  Cudnn& cudnn = stream.vendor().cudnn();
  ConvOperands operands{x.data(), w.data(), static_cast<const float*>(bias.data()), y.data()};
  ConvProblem problem{.operation = Operation::kForward,
                      .geometry = g,
                      .type = type,
                      .result = type,
                      .bias = static_cast<bool>(a.bias),
                      .relu = a.relu};
  if (!a.sums.empty() && g.o == given.o && aligned(a.sums.data())) {
    operands.sum = a.sums.data();
    operands.squares = operands.sum + g.o;
    problem.sums = true;
    if (const ConvPlan* const summing =
            cudnn.plan(problem, operands, "the norm behind it reads its result once more")) {
      cudnn.run(*summing, operands);
      y.deliver();
      return true;
    }
    problem.sums = false;
  }
  const bool fuses = problem.bias || problem.relu;
  if (const ConvPlan* const fused =
          cudnn.plan(problem, operands, fuses ? "a kernel behind it adds them" : nullptr)) {
    cudnn.run(*fused, operands);
  } else {
    problem.bias = problem.relu = false;
    cudnn.run(cudnn.require(problem, operands), operands);
    add_bias(stream, {.rows = y_of(g).rows,
                      .channels = g.o,
                      .bias = a.bias ? ConstView(bias.data(), DType::kF32, g.o) : ConstView(),
                      .y = {y.data(), type, g.y_size()},
                      .relu = a.relu});
  }
  y.deliver();
  return false;
}

void conv_backward_data(CudaStream& stream, const ConvBackwardData& a) {
  check_convolution(a.geometry, a.dx, a.w, {}, a.dy);
  check_types(a.dy, a.dx, a.w, a.w_copy);
  const DType type = a.dy.dtype;
  const ConvGeometry& given = a.geometry;
  const ConstView& weights = a.w_copy ? a.w_copy : a.w;
  if (is_linear(given)) {
    const Operand w(stream, weights, w_of(given), w_of(given), type);
    return stream.vendor().cublaslt().multiply(
        {.m = given.n, .n = given.c, .k = given.o, .type = type, .result = type},
        {.a = a.dy.data, .b = w.data(), .bias = nullptr, .y = a.dx.data});
  }
  const ConvGeometry g = padded(given, type);
  const Operand dy(stream, a.dy, y_of(given), y_of(g), type);
  const Operand w(stream, weights, w_of(given), w_of(g), type);
  Result dx(stream, a.dx, x_of(given), x_of(g));
  Cudnn& cudnn = stream.vendor().cudnn();
  const ConvOperands operands{dy.data(), w.data(), nullptr, dx.data()};
  cudnn.run(
      cudnn.require(
          {.operation = Operation::kBackwardData, .geometry = g, .type = type, .result = type},
          operands),
      operands);
  dx.deliver();
}

void conv_backward_weight(CudaStream& stream, const ConvBackwardWeight& a) {
  check_convolution(a.geometry, a.x, a.dw, a.dbias, a.dy);
  check_types(a.x, a.dy, a.dw, {});
  const DType type = a.x.dtype;
  const ConvGeometry& given = a.geometry;
  if (a.dbias)
    bias_gradient(stream, {.rows = y_of(given).rows,
                           .channels = given.o,
                           .dy = a.dy,
                           .dbias = a.dbias,
                           .accumulate = a.accumulate});
  float* const dw = a.dw.as<float>();
  if (is_linear(given))
    return stream.vendor().cublaslt().multiply(
        {.m = given.o,
         .n = given.c,
         .k = given.n,
         .type = type,
         .transpose_a = true,
         .accumulate = a.accumulate},
        {.a = a.dy.data, .b = a.x.data, .bias = nullptr, .y = dw});
  const ConvGeometry g = padded(given, type);
  const Operand x(stream, a.x, x_of(given), x_of(g), type);
  const Operand dy(stream, a.dy, y_of(given), y_of(g), type);
  const bool direct = !a.accumulate && g == given && aligned(dw);
  const Scratch<float> scratch(stream, direct && type == DType::kF32 ? 0 : g.w_size());
  Cudnn& cudnn = stream.vendor().cudnn();
  ConvProblem problem{.operation = Operation::kBackwardWeight, .geometry = g, .type = type};
  ConvOperands operands{x.data(), dy.data(), nullptr, direct ? dw : scratch.data()};
  const ConvPlan* plan = nullptr;
  if (type != DType::kF32) {
    ConvProblem rounded = problem;
    rounded.result = type;
    const ConvOperands to_scratch{x.data(), dy.data(), nullptr, scratch.data()};
    const char* const instead = "the gradient is rounded to the operands' type";
    if (kF32IsWorth * cudnn.milliseconds(rounded, to_scratch, nullptr) >=
        cudnn.milliseconds(problem, operands, instead))
      plan = cudnn.plan(problem, operands, instead);
    if (plan == nullptr) problem = rounded, operands = to_scratch;
  }
  cudnn.run(plan != nullptr ? *plan : cudnn.require(problem, operands), operands);
  if (operands.result != dw)
    copy_channels(stream, copy({scratch.data(), problem.result, g.w_size()}, w_of(g), a.dw,
                               w_of(given), a.accumulate));
}

}  // namespace passnorm::kernels
