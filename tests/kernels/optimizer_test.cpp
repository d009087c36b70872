#include "kernels/optimizer.hpp"

#include <array>
#include <tuple>

#include "bench/cases/norm.hpp"
#include "tests/reference/optimizer.hpp"
#include "tests/support/device_value.hpp"
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
  const Buffer gradients(DType::kF32, {.5, .2});
  const std::array<float, 2> expected{.994995f, .988485525025f};
  for (size_t i = 0; i < 2; ++i) {
    kernels::sgd_step(stream(), {.w = w.write_as<float>(),
                                 .g = gradients.read_as<float>().subspan(i, 1),
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
  const Buffer gradients(DType::kF32, {.5, .2});
  const std::array<float, 2> expected{.99900000002f, .99810137920f};
  for (size_t i = 0; i < 2; ++i) {
    kernels::adam_step(stream(), {.w = w.write_as<float>(),
                                  .g = gradients.read_as<float>().subspan(i, 1),
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
  const Buffer zero(DType::kF32, std::vector{0.0});
  kernels::adam_step(stream(), {.w = w.write_as<float>(),
                                .g = zero.read_as<float>(),
                                .m = m.write_as<float>(),
                                .v = v.write_as<float>()});
  EXPECT_EQ(w[0], 0.25);
}

/// How a step is called: numbers given, or read from device memory.
enum class Numbers { kGiven, kInMemory };
void PrintTo(Numbers n, std::ostream* out) {
  *out << (n == Numbers::kGiven ? "given" : "in_memory");
}

/// A step of either optimiser on a part of an arena, whose elements on both sides may not change.
struct Step {
  bool adam = false;
  DType copy = DType::kF32;  // f32: none
  Numbers numbers = Numbers::kGiven;
  int32_t apply = 1;
  int64_t n = 0;       // of the part
  int64_t arena = 0;   // of everything
  int64_t before = 0;  // elements of the arena before the part

  std::vector<Buffer> run(TestStream& s) const {
    Buffer w(DType::kF32, uniform(arena, 1)), first(DType::kF32, uniform(arena, 3, 0, 1)),
        second(DType::kF32, uniform(arena, 4, 0, 1)), to;
    const Buffer g(DType::kF32, uniform(arena, 2));
    if (copy != DType::kF32) to = Buffer(copy, uniform(arena, 5));
    InDeviceMemory<float> rate(0.01f), scale(0.25f);
    InDeviceMemory<int32_t> applied(apply), step(3);
    const bool given = numbers == Numbers::kGiven;
    const auto number = [&](auto& there, auto value) {
      using T = decltype(value);
      return given ? DeviceValue<T>(value) : DeviceValue<T>(static_cast<const T*>(there.at()));
    };
    const auto part = [&](Buffer& b) {
      return b.write_as<float>().subspan(static_cast<size_t>(before), static_cast<size_t>(n));
    };
    const View copied = to.size() ? View(static_cast<std::byte*>(to.write().data) +
                                             static_cast<size_t>(before) * size_of(copy),
                                         copy, n)
                                  : View();
    const auto gradient =
        g.read_as<float>().subspan(static_cast<size_t>(before), static_cast<size_t>(n));
    if (adam)
      kernels::adam_step(s, {.w = part(w),
                             .g = gradient,
                             .m = part(first),
                             .v = part(second),
                             .w_copy = copied,
                             .lr = number(rate, 0.01f),
                             .weight_decay = 0.1f,
                             .step = number(step, 3),
                             .g_scale = number(scale, 0.25f),
                             .apply = number(applied, apply)});
    else
      kernels::sgd_step(s, {.w = part(w),
                            .g = gradient,
                            .momentum_buffer = part(first),
                            .w_copy = copied,
                            .lr = number(rate, 0.01f),
                            .weight_decay = 0.1f,
                            .g_scale = number(scale, 0.25f),
                            .apply = number(applied, apply)});
    s.synchronize();
    return list(std::move(w), std::move(first), std::move(second), std::move(to));
  }
};

using StepParam = std::tuple<bool, DType, Numbers>;
class StepOnArena : public testing::TestWithParam<StepParam> {
 protected:
  Step step() const {
    const auto& [adam, copy, numbers] = GetParam();
    return {.adam = adam, .copy = copy, .numbers = numbers};
  }
};
std::string step_name(const testing::TestParamInfo<StepParam>& info) {
  const auto& [adam, copy, numbers] = info.param;
  return std::string(adam ? "adam" : "sgd") + "_" + name_of(copy) + "_" +
         testing::PrintToString(numbers);
}

/// Whatever the place and length of a part, its elements become what they become in the whole
/// arena, the others stay, and the copy is the rounded weight.
TEST_P(StepOnArena, PartsAndCopies) {
  constexpr int64_t kArena = 2064;
  Step whole = step();
  whole.n = whole.arena = kArena;
  const std::vector<Buffer> all = whole.run(stream());
  whole.n = 0;
  const std::vector<Buffer> none = whole.run(stream());
  for (const auto& [before, n] : std::vector<std::array<int64_t, 2>>{
           {0, 2061}, {8, 2050}, {8, 3}, {8, 1031}, {1, 2048}, {3, 1}, {0, kArena}}) {
    SCOPED_TRACE(testing::Message() << n << " elements behind " << before);
    Step part = step();
    part.n = n, part.arena = kArena, part.before = before;
    const auto out = on_every_stream([&](TestStream& s) { return part.run(s); });
    int64_t wrong = 0;
    for (size_t k = 0; k < 4; ++k)
      for (int64_t i = 0; i < out[k].size(); ++i)
        wrong += out[k][i] != (i >= before && i < before + n ? all : none)[k][i];
    EXPECT_EQ(wrong, 0);
  }
  EXPECT_FALSE(same_bits(all[0], none[0]));
  if (all[3].size()) {
    EXPECT_TRUE(same_bits(all[3], Buffer(all[3].dtype(), all[0].values())));
  }
}

TEST_P(StepOnArena, NothingChangesWhenNotApplied) {
  Step held = step();
  held.n = held.arena = 1024;
  held.apply = 0;
  const auto out = on_every_stream([&](TestStream& s) { return held.run(s); });
  held.n = 0;
  const std::vector<Buffer> none = held.run(stream());
  for (size_t k = 0; k < 4; ++k) EXPECT_TRUE(same_bits(out[k], none[k])) << "array " << k;
}
INSTANTIATE_TEST_SUITE_P(Optimizers, StepOnArena,
                         testing::Combine(testing::Bool(),
                                          testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                                          testing::Values(Numbers::kGiven, Numbers::kInMemory)),
                         step_name);

TEST(Restore, OnlyWhatWasNotApplied) {
  for (int64_t n : {1, 33, 1000, 1024}) {
    const Buffer kept(DType::kF32, uniform(n, 1));
    for (int32_t apply : {0, 1}) {
      const auto out = on_every_stream([&](TestStream& s) {
        Buffer y(DType::kF32, uniform(n, 2));
        InDeviceMemory<int32_t> applied(apply);
        kernels::restore(s, {.kept = kept.read_as<float>(),
                             .y = y.write_as<float>(),
                             .apply = static_cast<const int32_t*>(applied.at())});
        s.synchronize();
        return list(std::move(y));
      });
      EXPECT_TRUE(equal(out[0], Buffer(DType::kF32, uniform(n, apply == 0 ? 1 : 2)).values()));
    }
  }
}

TEST(OptimizerErrors, ArgumentsThatDoNotFit) {
  Buffer w(DType::kF32, uniform(8, 1)), short_one(DType::kF32, uniform(7, 2)),
      f32(DType::kF32, uniform(8, 3)), bf16(DType::kBF16, uniform(7, 3));
  const auto sgd = [&](const Buffer& g, Buffer& buffer, View copy) {
    kernels::sgd_step(stream(), {.w = w.write_as<float>(),
                                 .g = g.read_as<float>(),
                                 .momentum_buffer = buffer.write_as<float>(),
                                 .w_copy = copy});
  };
  Buffer none;
  EXPECT_NO_THROW(sgd(f32, f32, {}));
  EXPECT_THROW(sgd(short_one, f32, {}), Error);
  EXPECT_THROW(sgd(f32, short_one, {}), Error);
  EXPECT_THROW(sgd(f32, none, {}), Error);  // momentum needs its buffer
  EXPECT_THROW(sgd(f32, f32, f32.write()), Error);
  EXPECT_THROW(sgd(f32, f32, bf16.write()), Error);
  EXPECT_THROW(kernels::adam_step(stream(), {.w = w.write_as<float>(),
                                             .g = w.read_as<float>(),
                                             .m = w.write_as<float>(),
                                             .v = w.write_as<float>(),
                                             .step = 0}),
               Error);
  EXPECT_THROW(
      kernels::restore(stream(), {.kept = short_one.read_as<float>(), .y = w.write_as<float>()}),
      Error);
}

}  // namespace
}  // namespace passnorm::test
