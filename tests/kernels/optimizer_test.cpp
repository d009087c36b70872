#include "kernels/optimizer.hpp"

#include "bench/cases/norm.hpp"
#include "tests/reference/optimizer.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using reference::Sums;

struct SgdParam {
  float momentum, weight_decay;
  bool nesterov, first_step;
  float g_scale;
};
void PrintTo(const SgdParam& p, std::ostream* out) {
  *out << (p.momentum > 0 ? "momentum" : "plain") << (p.nesterov ? "_nesterov" : "")
       << (p.weight_decay > 0 ? "_decay" : "") << (p.first_step ? "_first" : "")
       << (p.g_scale != 1 ? "_scaled" : "");
}
std::vector<SgdParam> sgd_params() {
  std::vector<SgdParam> all;
  for (float weight_decay : {0.0f, 5e-4f})
    for (float g_scale : {1.0f, 1.0f / 1024}) {
      all.push_back({0, weight_decay, false, false, g_scale});
      for (bool nesterov : {false, true})
        for (bool first : {false, true})
          all.push_back({0.9f, weight_decay, nesterov, first, g_scale});
    }
  return all;
}

class Sgd : public testing::TestWithParam<SgdParam> {};
TEST_P(Sgd, Step) {
  const SgdParam& p = GetParam();
  const float lr = 0.01f;
  for (int64_t n : cases::lengths()) {
    const Buffer w0(DType::kF32, uniform(n, 1)), g(DType::kF32, uniform(n, 2));
    // At the first step the buffer is zero.
    const Buffer b0(DType::kF32,
                    p.first_step ? std::vector<double>(static_cast<size_t>(n)) : uniform(n, 3));
    const bool with_buffer = p.momentum > 0;
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer w(DType::kF32, w0.values()), b;
      if (with_buffer) b = Buffer(DType::kF32, b0.values());
      kernels::sgd_step(s, {.w = w.write_as<float>(),
                            .g = g.read_as<float>(),
                            .momentum_buffer = b.write_as<float>(),
                            .lr = lr,
                            .momentum = p.momentum,
                            .weight_decay = p.weight_decay,
                            .nesterov = p.nesterov,
                            .g_scale = p.g_scale});
      return list(std::move(w), std::move(b));
    });
    Sums w(n), b(n);
    for (int64_t i = 0; i < n; ++i) {
      const reference::SgdState r = reference::sgd_step(
          {lr, p.momentum, p.weight_decay, p.nesterov},
          {w0[i], p.first_step || !with_buffer ? 0 : b0[i]}, p.g_scale * g[i], p.first_step);
      w.add(i, r.w, r.w_magnitude);
      b.add(i, r.buffer, r.buffer_magnitude);
    }
    EXPECT_TRUE(close(out[0], w, {.terms = 8})) << "n " << n;
    if (with_buffer) {
      EXPECT_TRUE(close(out[1], b, {.terms = 4})) << "n " << n;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Variants, Sgd, testing::ValuesIn(sgd_params()),
                         testing::PrintToStringParamName());

class Adam : public testing::TestWithParam<int64_t> {};
TEST_P(Adam, Step) {
  const int64_t t = GetParam();
  const float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  for (float weight_decay : {0.0f, 1e-4f})
    for (float g_scale : {1.0f, 1.0f / 1024})
      for (int64_t n : cases::lengths()) {
        const auto moment = [&](uint32_t tag, double low) {
          return t == 1 ? std::vector<double>(static_cast<size_t>(n)) : uniform(n, tag, low, 1);
        };
        const Buffer w0(DType::kF32, uniform(n, 1)), g(DType::kF32, uniform(n, 2)),
            m0(DType::kF32, moment(3, -1)), v0(DType::kF32, moment(4, 0.01));
        const auto out = on_every_stream([&](TestStream& s) {
          Buffer w(DType::kF32, w0.values()), m(DType::kF32, m0.values()),
              v(DType::kF32, v0.values());
          kernels::adam_step(s, {.w = w.write_as<float>(),
                                 .g = g.read_as<float>(),
                                 .m = m.write_as<float>(),
                                 .v = v.write_as<float>(),
                                 .lr = lr,
                                 .beta1 = beta1,
                                 .beta2 = beta2,
                                 .eps = eps,
                                 .weight_decay = weight_decay,
                                 .step = t,
                                 .g_scale = g_scale});
          return list(std::move(w), std::move(m), std::move(v));
        });
        Sums w(n), m(n), v(n);
        for (int64_t i = 0; i < n; ++i) {
          const reference::AdamState r = reference::adam_step(
              {lr, beta1, beta2, eps, weight_decay}, {w0[i], m0[i], v0[i]}, g_scale * g[i], t);
          w.add(i, r.w, r.w_magnitude);
          m.add(i, r.m, r.m_magnitude);
          v.add(i, r.v, r.v_magnitude);
        }
        EXPECT_TRUE(close(out[0], w, {.terms = 16})) << "n " << n << ", decay " << weight_decay;
        EXPECT_TRUE(close(out[1], m, {.terms = 6})) << "n " << n << ", decay " << weight_decay;
        EXPECT_TRUE(close(out[2], v, {.terms = 9})) << "n " << n << ", decay " << weight_decay;
      }
}
INSTANTIATE_TEST_SUITE_P(Steps, Adam, testing::Values(1, 2, 1000, 1000000),
                         testing::PrintToStringParamName());

/// w = 1, gradients .5 and .2.
TEST(OptimizerWorkedValues, TwoStepsOfSgd) {
  Buffer w(DType::kF32, std::vector{1.0}), b(DType::kF32, std::vector{0.0});
  const std::array<float, 2> gradient{.5f, .2f}, expected{.994995f, .988485525025f};
  for (size_t i = 0; i < 2; ++i) {
    kernels::sgd_step(stream(), {.w = w.write_as<float>(),
                                 .g = {&gradient[i], 1},
                                 .momentum_buffer = b.write_as<float>(),
                                 .lr = .01f,
                                 .momentum = .9f,
                                 .weight_decay = 5e-4f});
    EXPECT_FLOAT_EQ(w.read_as<float>()[0], expected[i]);
  }
}
TEST(OptimizerWorkedValues, TwoStepsOfAdam) {
  Buffer w(DType::kF32, std::vector{1.0}), m(DType::kF32, std::vector{0.0}),
      v(DType::kF32, std::vector{0.0});
  const std::array<float, 2> gradient{.5f, .2f}, expected{.99900000002f, .99810137920f};
  for (size_t i = 0; i < 2; ++i) {
    kernels::adam_step(stream(), {.w = w.write_as<float>(),
                                  .g = {&gradient[i], 1},
                                  .m = m.write_as<float>(),
                                  .v = v.write_as<float>(),
                                  .lr = 1e-3f,
                                  .weight_decay = 1e-4f,
                                  .step = static_cast<int32_t>(i) + 1});
    EXPECT_FLOAT_EQ(w.read_as<float>()[0], expected[i]);
  }
}

/// A parameter without gradient and decay stays where it is: no 0 / 0.
TEST(OptimizerWorkedValues, AdamWithoutGradient) {
  Buffer w(DType::kF32, std::vector{0.25}), m(DType::kF32, std::vector{0.0}),
      v(DType::kF32, std::vector{0.0});
  const float zero = 0;
  kernels::adam_step(stream(), {.w = w.write_as<float>(),
                                .g = {&zero, 1},
                                .m = m.write_as<float>(),
                                .v = v.write_as<float>()});
  EXPECT_EQ(w[0], 0.25);
}

}  // namespace
}  // namespace passnorm::test
