// Gradients of recorded operations against central differences.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/autograd/tape.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/tolerance.hpp"

namespace passnorm::test {

/// One evaluation of a checked function: the terms of a scalar, which start its gradient.
class Evaluation {
 public:
  explicit Evaluation(Tape& t) : tape(t) {}

  Tape& tape;

  struct Term {
    double value;
    double size;  ///< what its rounding errors are relative to
  };
  std::vector<Term> terms;
  std::vector<bool> sides;  ///< of all kinks: on which side the arguments stand

  /// Adds sum(y r), r uniform in [-1, 1) and new for every call.
  void sum(const Var& y) {
    const std::vector<double> r = uniform(y.value.size(), 1000 + calls_++);
    const std::vector<float> v = y.value.to_host(tape.stream());
    double largest = 0;
    for (const float e : v) largest = std::max(largest, std::abs(double{e}));
    for (size_t i = 0; i < v.size(); ++i) terms.push_back({v[i] * r[i], std::abs(r[i]) * largest});
    if (!tape.differentiates(y)) return;
    const GradientSink to = y.sink(tape.stream());
    for (size_t i = 0; i < r.size(); ++i)
      to.value.span()[i] = static_cast<float>(r[i]) + (to.accumulate ? to.value.span()[i] : 0);
  }
  /// Adds losses that wrote their own gradients, `count` times each.
  void loss(const Tensor& losses, double count = 1) {
    for (const float v : losses.to_host(tape.stream()))
      terms.push_back({count * v, count * std::abs(v)});
  }
  template <class Values>
  void kinks_at_zero(const Values& values) {
    for (const auto v : values) sides.push_back(v > 0);
  }

 private:
  uint32_t calls_ = 0;
};

/// A value whose gradient is checked; its elements are of size 1.
struct Leaf {
  std::string name;
  Var var;
};

/// What a leaf's checks amount to.
struct Sharpness {
  double differences = 0,
         tolerances = 0;  ///< sums of absolute difference quotients, and of their tolerances
  size_t checked = 0, skipped = 0;  ///< coordinates; skipped: at a kink for every step

  /// Tolerances below a tenth of what they judge, and at most one coordinate of 16 (or one of a
  /// few) skipped.
  bool good() const {
    return tolerances < 0.1 * differences && skipped <= (checked + skipped + 15) / 16;
  }
};
inline std::ostream& operator<<(std::ostream& out, const Sharpness& s) {
  return out << "tolerances " << s.tolerances << " of differences " << s.differences << ", "
             << s.skipped << " skipped and " << s.checked << " checked";
}

struct GradientCheck {
  double roundings = 1;  ///< on the longest path from a leaf to a term, forward or backward
  size_t coordinates = SIZE_MAX;  ///< at most so many of each leaf, spread over it
  uint32_t first = 0;             ///< which ones: other values check others
  std::map<std::string, Sharpness>* sharpness =
      nullptr;  ///< by leaf, summed over many small checks
};

/// The elements of values of a leaf.
inline Var leaf(Stream& stream, const Shape& shape, const std::vector<double>& values,
                Lanes lanes = {}) {
  const std::vector<float> v(values.begin(), values.end());
  return {Tensor::from<float>(stream, shape, v), lanes, std::make_shared<Gradient>()};
}
inline Var leaf(Stream& stream, const Shape& shape, uint32_t tag, Lanes lanes = {}) {
  return leaf(stream, shape, uniform(shape.size(), tag), lanes);
}

/// Checks the gradient of f's scalar F with respect to every leaf, with D(h) = (F(x + h) - F(x -
/// h)) / 2h.
///
///   step        h = cbrt(3 g), g = gamma(roundings, u): it balances truncation h^2 F'''/6 and
///   rounding g F / h where F, its
///               derivatives and the leaves are of size 1. Where an argument changes sides of a
///               kink between x - 2h and x + 2h, h is halved, up to six times; then the coordinate
///               is skipped.
///   tolerance   |D(2h) - D(h)|, which is three times the truncation error of D(h)
///               + R / h, R = min(sum e, 8 sqrt(sum e^2)) over the terms that changed, e = g size
///               (8 standard deviations of
///                 independent errors; a term that did not change has none)
///               + g max |gradient|, of the recorded gradient's own rounding.
///
/// A leaf's gradient memory holds NaN before: the first contribution must overwrite. A blind
/// check (Sharpness) fails.
inline void check_gradients(Stream& stream, const std::vector<Leaf>& leaves,
                            const std::function<void(Evaluation&)>& f,
                            const GradientCheck& options = {}) {
  const double g = gamma(options.roundings, unit_roundoff(DType::kF32));
  const auto evaluate = [&](Tape::Mode mode) {
    Tape tape(stream, mode);
    Evaluation e(tape);
    f(e);
    tape.backward();
    return std::pair(std::move(e.terms), std::move(e.sides));
  };
  for (const Leaf& l : leaves) {
    l.var.gradient->written = false;
    if (l.var.gradient->value)
      for (float& v : l.var.gradient->value.span()) v = std::nanf("");
  }
  const auto sides = evaluate(Tape::Mode::kRecord).second;

  for (const Leaf& l : leaves) {
    ASSERT_TRUE(l.var.gradient->written) << l.name << " got no gradient";
    const std::vector<float> gradient = l.var.gradient->value.to_host(stream);
    const std::span<float> x = l.var.value.span();
    ASSERT_EQ(gradient.size(), x.size()) << l.name;
    Sharpness alone;
    Sharpness& sharp = options.sharpness ? (*options.sharpness)[l.name] : alone;
    double largest = 0;
    for (const float v : gradient) largest = std::max(largest, std::abs(double{v}));

    const size_t count = std::min(options.coordinates, x.size());
    size_t wrong = 0;
    double worst = 0;
    std::string message;
    for (size_t k = 0; k < count; ++k) {
      const size_t i = (k * x.size() / count + options.first) % x.size();
      /// D(step) and its rounding error; nothing where a kink lies between.
      const auto slope = [&](double step) -> std::optional<std::pair<double, double>> {
        const float at = x[i], up = static_cast<float>(at + step),
                    down = static_cast<float>(at - step);
        x[i] = up;
        const auto [high, high_sides] = evaluate(Tape::Mode::kForwardOnly);
        x[i] = down;
        const auto [low, low_sides] = evaluate(Tape::Mode::kForwardOnly);
        x[i] = at;
        if (high_sides != sides || low_sides != sides) return std::nullopt;
        double difference = 0, total = 0, squares = 0;
        for (size_t t = 0; t < high.size(); ++t) {
          if (high[t].value == low[t].value) continue;
          const double error = g * std::max(high[t].size, low[t].size);
          difference += high[t].value - low[t].value;
          total += error;
          squares += error * error;
        }
        const double width = double{up} - down;
        return std::pair(difference / width, 2 * std::min(total, 8 * std::sqrt(squares)) / width);
      };
      bool checked = false;
      double h = std::cbrt(3 * g);
      for (int halving = 0; halving <= 6 && !checked; ++halving, h /= 2) {
        const auto coarse = slope(2 * h);
        const auto fine = coarse ? slope(h) : std::nullopt;
        if (!fine) continue;
        const double tolerance = std::abs(coarse->first - fine->first) + fine->second + g * largest;
        const double error = std::abs(gradient[i] - fine->first);
        if (!(error <= tolerance)) {  // also NaN
          ++wrong;
          if (!(error / tolerance <= worst)) {
            worst = error / tolerance;
            message = concat("[", i, "] is ", gradient[i], ", the difference quotient ",
                             fine->first, " +- ", tolerance);
          }
        }
        sharp.tolerances += tolerance;
        sharp.differences += std::abs(fine->first);
        checked = true;
      }
      ++(checked ? sharp.checked : sharp.skipped);
    }
    EXPECT_EQ(wrong, 0u) << "of " << count << " gradients of " << l.name << "; worst: d/d" << l.name
                         << message;
    EXPECT_TRUE(options.sharpness || sharp.good())
        << "the check of " << l.name << " is blind: " << sharp;
  }
}

/// Checks that without a recording tape f allocates no gradient and keeps nothing.
inline void check_records_nothing(Stream& stream, const std::vector<Leaf>& leaves,
                                  const std::function<void(Evaluation&)>& f) {
  for (const Leaf& l : leaves) *l.var.gradient = {};
  Tape tape(stream, Tape::Mode::kForwardOnly);
  const size_t used = stream.memory()->used_bytes();
  {
    Evaluation e(tape);
    f(e);
  }
  EXPECT_EQ(stream.memory()->used_bytes(), used) << "the tape keeps memory";
  tape.backward();
  for (const Leaf& l : leaves) {
    EXPECT_FALSE(l.var.gradient->value) << l.name;
    EXPECT_FALSE(l.var.gradient->written) << l.name;
  }
}

}  // namespace passnorm::test
