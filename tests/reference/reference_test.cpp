// The oracles' gradients against central differences of the oracles' forward functions, in double.
#include <gtest/gtest.h>

#include "tests/reference/convolution.hpp"
#include "tests/reference/gemm.hpp"
#include "tests/reference/loss.hpp"
#include "tests/reference/norm.hpp"
#include "tests/reference/optimizer.hpp"
#include "tests/reference/passport.hpp"
#include "tests/reference/pooling.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/finite_difference.hpp"
#include "tests/support/tolerance.hpp"

namespace passnorm::test {
namespace {

using reference::Sums;
using reference::Values;
using Scalar = std::function<double(const Values&)>;

/// The gradient of f at x is `gradient`, element by element. h = 0.5 for functions linear in each x
/// (no truncation error). magnitude: sum of the absolute terms of f.
void expect_gradient(const Scalar& f, const Values& x, const Values& gradient, double h,
                     double magnitude, const char* what) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  const double rounding = gamma(1000, unit_roundoff(DType::kF64)) * magnitude;
  bool any = false;
  for (size_t i = 0; i < x.size(); ++i) {
    const Derivative d = central_difference(f, x, i, h, rounding);
    EXPECT_NEAR(gradient[i], d.value, d.error) << what << " [" << i << "]";
    any = any || std::abs(gradient[i]) > 16 * d.error;
  }
  EXPECT_TRUE(any) << what << ": the differences are too coarse to see the gradient";
}
double size_of_sum(const Sums& y) {
  return reference::dot(y.magnitude, Values(y.magnitude.size(), 1.0));
}

TEST(Oracle, ConvolutionGradients) {
  for (const reference::Conv& g : {reference::Conv{2, 4, 5, 2, 3, 3, 3, 1, 1},
                                   {1, 5, 6, 2, 2, 3, 2, 2, 1},
                                   {2, 3, 3, 3, 2, 1, 1, 2, 0}}) {
    const Values x = uniform(g.n * g.h * g.w * g.c, 1), w = uniform(g.o * g.kh * g.kw * g.c, 2),
                 b = uniform(g.o, 3);
    const Sums y = reference::conv_forward(g, x, w, b);
    const Values dy = uniform(y.size(), 4);
    const double size = size_of_sum(y);
    expect_gradient(
        [&](const Values& v) {
          return reference::dot(reference::conv_forward(g, v, w, b).value, dy);
        },
        x, reference::conv_backward_data(g, dy, w).value, 0.5, size, "dx");
    expect_gradient(
        [&](const Values& v) {
          return reference::dot(reference::conv_forward(g, x, v, b).value, dy);
        },
        w, reference::conv_backward_weight(g, x, dy).value, 0.5, size, "dw");
    expect_gradient(
        [&](const Values& v) {
          return reference::dot(reference::conv_forward(g, x, w, v).value, dy);
        },
        b, reference::conv_backward_bias(g, dy).value, 0.5, size, "dbias");
  }
}

/// A convolution small enough to do by hand: a 2x2 difference kernel over a 3x3 image.
TEST(Oracle, ConvolutionByHand) {
  const Sums y = reference::conv_forward(
      {1, 3, 3, 1, 1, 2, 2, 1, 0}, {1, 2, 4, 8, 16, 32, 64, 128, 256}, {1, -1, 10, 100}, {0.5});
  EXPECT_EQ(y.value, (Values{1 - 2 + 80 + 1600 + .5, 2 - 4 + 160 + 3200 + .5,
                             8 - 16 + 640 + 12800 + .5, 16 - 32 + 1280 + 25600 + .5}));
}

TEST(Oracle, GemmIsPointwiseConvolution) {
  const int64_t m = 5, n = 4, k = 3;
  const Values a = uniform(m * k, 1), b = uniform(n * k, 2);
  const Sums product = reference::gemm(m, n, k, a, false, b, true);
  const Sums conv = reference::conv_forward({m, 1, 1, k, n, 1, 1, 1, 0}, a, b, {});
  for (size_t i = 0; i < product.value.size(); ++i)
    EXPECT_DOUBLE_EQ(product.value[i], conv.value[i]);
}

struct NormParam {
  reference::Kind kind;
  int64_t parts, lanes;
  bool fork;
  reference::Activation activation;
  int residual;  ///< 0 none, 1 as y, 2 half of y
  bool fixed;
};
std::vector<NormParam> norm_params() {
  using reference::Activation;
  using reference::Kind;
  std::vector<NormParam> all;
  for (Kind kind : {Kind::kBatch, Kind::kGroup, Kind::kInstance, Kind::kLayer})
    for (Activation activation :
         {Activation::kIdentity, Activation::kRelu, Activation::kReluThenAdd})
      for (int residual : {0, 1, 2})
        for (bool fixed : {false, true}) {
          if (residual < 2) all.push_back({kind, 1, 1, false, activation, residual, fixed});
          all.push_back({kind, 1, 2, true, activation, residual, fixed});
          all.push_back({kind, 2, 2, false, activation, residual, fixed});
        }
  return all;
}

/// Statistics, apply and everything behind them in one function of x, scale, shift and residual.
TEST(Oracle, NormGradients) {
  for (const NormParam& p : norm_params()) {
    SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(p.kind) << ", parts " << p.parts
                                    << ", lanes " << p.lanes << ", fork " << p.fork
                                    << ", activation " << static_cast<int>(p.activation)
                                    << ", residual " << p.residual << ", fixed " << p.fixed);
    const reference::Norm g{.kind = p.kind,
                            .n = 4,
                            .s = 3,
                            .c = 4,
                            .parts = p.parts,
                            .groups = 2,
                            .lanes = p.lanes,
                            .fork = p.fork};
    const double eps = 1e-3;
    const Values x = uniform(g.x_size(), 1),
                 residual = uniform(p.residual == 0 ? 0 : g.y_size() / p.residual, 2),
                 dy = uniform(g.y_size(), 3);
    std::array<Values, 2> scale{uniform(g.c, 4, 0.5, 2), uniform(g.c, 5, -2, -0.5)},
        shift{uniform(g.c, 6), uniform(g.c, 7)};
    const auto affines = [&](const Values& of) {
      const reference::Statistics s = reference::norm_statistics(g, of);
      reference::Affines a;
      for (size_t l = 0; l < 2; ++l) {
        a[l] = {s.mean, s.var, scale[l], shift[l]};
        for (double& v : a[l].rstd) v = 1 / std::sqrt(v + eps);
      }
      return a;
    };
    const reference::Affines at_x = affines(x);
    const auto f = [&](const Values& xs, const Values& rs) {
      reference::Affines a = p.fixed ? at_x : affines(xs);
      for (size_t l = 0; l < 2; ++l) a[l].scale = scale[l], a[l].shift = shift[l];
      return reference::dot(reference::norm_apply(g, p.activation, xs, rs, a).value, dy);
    };
    const Sums y = reference::norm_apply(g, p.activation, x, residual, at_x);
    const reference::NormGradients d = reference::norm_backward(
        g, p.activation, p.fixed, x, y.value, dy, static_cast<int64_t>(residual.size()), at_x);
    const double h = 1e-5, size = size_of_sum(y);
    expect_gradient([&](const Values& v) { return f(v, residual); }, x, d.dx.value, h, size, "dx");
    if (p.residual)
      expect_gradient([&](const Values& v) { return f(x, v); }, residual, d.dresidual.value, h,
                      size, "dresidual");
    for (size_t l = 0; l < static_cast<size_t>(p.lanes); ++l) {
      const auto with = [&](Values& parameter) {
        return [&](const Values& v) {
          const Values before = std::exchange(parameter, v);
          const double value = f(x, residual);
          parameter = before;
          return value;
        };
      };
      expect_gradient(with(scale[l]), Values(scale[l]), d.dscale[l].value, h, size, "dscale");
      expect_gradient(with(shift[l]), Values(shift[l]), d.dshift[l].value, h, size, "dshift");
    }
  }
}

/// Four numbers per set, by hand.
TEST(Oracle, NormSets) {
  using reference::Kind;
  const Values x{1, 10, 2, 20, 3, 30, 6, 60};  // n = 2, s = 2, c = 2
  EXPECT_EQ(reference::norm_statistics({.kind = Kind::kBatch, .n = 2, .s = 2, .c = 2}, x).mean,
            (Values{3, 30}));
  EXPECT_EQ(reference::norm_statistics({.kind = Kind::kBatch, .n = 2, .s = 2, .c = 2}, x).var,
            (Values{3.5, 350}));
  EXPECT_EQ(
      reference::norm_statistics({.kind = Kind::kBatch, .n = 2, .s = 2, .c = 2, .parts = 2}, x)
          .mean,
      (Values{1.5, 15, 4.5, 45}));
  EXPECT_EQ(reference::norm_statistics({.kind = Kind::kInstance, .n = 2, .s = 2, .c = 2}, x).mean,
            (Values{1.5, 15, 4.5, 45}));
  EXPECT_EQ(
      reference::norm_statistics({.kind = Kind::kGroup, .n = 2, .s = 2, .c = 2, .groups = 1}, x)
          .mean,
      (Values{8.25, 24.75}));
  EXPECT_EQ(reference::norm_statistics({.kind = Kind::kLayer, .n = 2, .s = 2, .c = 2}, x).mean,
            (Values{8.25, 24.75}));
}

TEST(Oracle, DigestIsTheMeanOfTheConvolutionAndHasItsAdjoint) {
  for (const reference::Conv& g : {reference::Conv{1, 5, 6, 2, 3, 3, 3, 1, 1},
                                   {1, 7, 5, 2, 2, 3, 3, 2, 1},
                                   {1, 4, 4, 3, 2, 1, 1, 2, 0}}) {
    const Values key = uniform(g.h * g.w * g.c, 1), w = uniform(g.o * g.kh * g.kw * g.c, 2);
    const Sums m = reference::digest(g, key);
    const Values mean = reference::raw_scale_by_convolution(g, key, w);
    const int64_t k = m.size();
    Values both = m.value;
    both.resize(static_cast<size_t>(2 * k));
    const Sums raw = reference::passport_read(g.o, k, w, {}, both);
    for (size_t o = 0; o < mean.size(); ++o)
      EXPECT_NEAR(raw.value[o], mean[o],
                  gamma(static_cast<double>(k * g.oh() * g.ow()), 0x1p-53) * raw.magnitude[o] * 2);
    const Values dm = uniform(k, 3);
    expect_gradient(
        [&](const Values& v) { return reference::dot(reference::digest(g, v).value, dm); }, key,
        reference::digest_backward(g, dm).value, 0.5, size_of_sum(m), "dkey");
  }
}

TEST(Oracle, PassportReadGradients) {
  const int64_t o = 4, k = 5;
  const Values w = uniform(o * k, 1), bias = uniform(o, 2), m = uniform(2 * k, 3),
               draw = uniform(2 * o, 4);
  const Sums raw = reference::passport_read(o, k, w, bias, m);
  const reference::ReadGradients d = reference::passport_read_backward(o, k, w, m, draw);
  const double size = size_of_sum(raw);
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::passport_read(o, k, v, bias, m).value, draw);
      },
      w, d.dw.value, 0.5, size, "dw");
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::passport_read(o, k, w, v, m).value, draw);
      },
      bias, d.dbias.value, 0.5, size, "dbias");
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::passport_read(o, k, w, bias, v).value, draw);
      },
      m, d.dm.value, 0.5, size, "dm");
}

/// The passport's weight gradient has rank two: every 3x3 minor vanishes.
TEST(Oracle, PassportWeightGradientHasRankTwo) {
  const int64_t o = 4, k = 5;
  const Values dw = reference::passport_read_backward(o, k, uniform(o * k, 1), uniform(2 * k, 2),
                                                      uniform(2 * o, 3))
                        .dw.value;
  const auto at = [&](int64_t r, int64_t c) { return dw[static_cast<size_t>(r * k + c)]; };
  for (int64_t r = 0; r + 2 < o; ++r)
    for (int64_t c = 0; c + 2 < k; ++c) {
      Sums minor(1);
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t sign : {1, -1})
          minor.add(0, static_cast<double>(sign) * at(r, c + i) *
                           at(r + 1, c + (i + 3 + sign) % 3) * at(r + 2, c + (i + 3 - sign) % 3));
      EXPECT_NEAR(minor.value[0], 0, gamma(12, 0x1p-53) * minor.magnitude[0]);
      EXPECT_GT(std::abs(at(r, c) * at(r + 1, c + 1) - at(r, c + 1) * at(r + 1, c)),
                gamma(8, 0x1p-53))
          << "rank one";
    }
}

TEST(Oracle, GateGradients) {
  const int64_t c = 8, hidden = 3;
  const Values a1 = uniform(hidden * c, 1), a2 = uniform(c * hidden, 2), raw = uniform(2 * c, 3),
               dused = uniform(2 * c, 4);
  const reference::GateResult y = reference::gate(c, hidden, a1, a2, raw);
  const reference::GateGradients d =
      reference::gate_backward(c, hidden, a1, a2, raw, y.hidden.value, dused);
  const double size = size_of_sum(y.used), h = 1e-6;
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::gate(c, hidden, a1, a2, v).used.value, dused);
      },
      raw, d.draw.value, h, size, "draw");
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::gate(c, hidden, v, a2, raw).used.value, dused);
      },
      a1, d.da1.value, h, size, "da1");
  expect_gradient(
      [&](const Values& v) {
        return reference::dot(reference::gate(c, hidden, a1, v, raw).used.value, dused);
      },
      a2, d.da2.value, h, size, "da2");
}

TEST(Oracle, SignLossGradient) {
  const Values g = uniform(40, 1, -0.3, 0.3);
  Values bits = whole(40, 2, 2);
  for (double& b : bits) b = 2 * b - 1;
  const reference::SignLossResult r = reference::sign_loss(g, bits, 0.1, 0.1, 1e-5);
  expect_gradient(
      [&](const Values& v) { return reference::sign_loss(v, bits, 0.1, 0.1, 1e-5).loss.value[0]; },
      g, r.draw.value, 1e-6, r.loss.magnitude[0], "draw");
}

TEST(Oracle, PoolingGradients) {
  const reference::Pool g{2, 5, 6, 3, 3, 2, 1};
  const Values x = uniform(g.n * g.h * g.w * g.c, 1), dy = uniform(g.y_size(), 2);
  const reference::MaxPool y = reference::max_pool_forward(g, x);
  expect_gradient(
      [&](const Values& v) { return reference::dot(reference::max_pool_forward(g, v).y, dy); }, x,
      reference::max_pool_backward(g, dy, y.argmax).value, 1e-6, static_cast<double>(dy.size()),
      "dx");
}

TEST(Oracle, CrossEntropyGradient) {
  const int64_t rows = 3, classes = 5;
  const Values logits = uniform(rows * classes, 1, -2, 2);
  const std::vector<int32_t> labels{0, 4, 2};
  for (double smoothing : {0.0, 0.1}) {
    const reference::CrossEntropyResult r =
        reference::cross_entropy(rows, classes, logits, labels, smoothing);
    expect_gradient(
        [&](const Values& v) {
          return reference::cross_entropy(rows, classes, v, labels, smoothing).loss;
        },
        logits, r.dlogits.value, 1e-4, r.loss_magnitude, "dlogits");
  }
}

/// The published worked values, to all their digits.
TEST(Oracle, OptimizerWorkedValues) {
  const reference::Sgd sgd{.01, .9, 5e-4, false};
  reference::SgdState s{1, 0};
  s = reference::sgd_step(sgd, s, .5, true);
  EXPECT_NEAR(s.w, .994995, 1e-15);
  s = reference::sgd_step(sgd, s, .2, false);
  EXPECT_NEAR(s.w, .988485525025, 1e-15);
  const reference::Adam adam{1e-3, .9, .999, 1e-8, 1e-4};
  reference::AdamState a{1, 0, 0};
  a = reference::adam_step(adam, a, .5, 1);
  EXPECT_NEAR(a.w, .99900000002, 1e-14);
  a = reference::adam_step(adam, a, .2, 2);
  EXPECT_NEAR(a.w, .99810137920, 5e-12);
}

}  // namespace
}  // namespace passnorm::test
