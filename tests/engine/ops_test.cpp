// What operations compute, and refuse, beside their gradients (ops_gradient_test.cpp).
#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "tests/engine/ops_cases.hpp"

namespace passnorm::test {
namespace {

using kernels::NormGeometry;
using kernels::NormKind;

constexpr int64_t kC = 8;

/// Values are rounded on the way there, gradients on the way back; a second use adds.
TEST(Cast, RoundsValuesAndGradients) {
  const Var x = input({4, 8}, 1);
  const auto rounded = [](float v) { return static_cast<float>(bfloat16(v)); };
  std::vector<float> expected = x.value.to_host(poisoned());
  for (float& v : expected) v = rounded(v);
  for (const int uses : {1, 2}) {
    x.gradient->written = false;
    Tape tape(poisoned());
    for (int use = 0; use < uses; ++use) {
      const Var y = ops::cast(tape, x, DType::kBF16);
      EXPECT_EQ(y.value.dtype(), DType::kBF16);
      const Var z = ops::cast(tape, y, DType::kF32);
      EXPECT_EQ(z.value.to_host(poisoned()), expected);
      const GradientSink to = z.sink(poisoned());  // 0.001 (i + 1): few are bf16 numbers
      for (size_t i = 0; i < 32; ++i) to.value.span()[i] = 0.001f * static_cast<float>(i + 1);
    }
    tape.backward();
    const auto gradient = x.gradient->value.to_host(poisoned());
    for (size_t i = 0; i < 32; ++i)
      EXPECT_EQ(gradient[i],
                static_cast<float>(uses) * rounded(0.001f * static_cast<float>(i + 1)));
  }
}

/// Values and gradients to the bit, with one result of full size less in memory.
TEST(NormPool, IsNormThenMaxPool) {
  const Shape xs{4, 8, 8, kC};
  const int64_t result_bytes = 2 * xs.size() * 4;
  const NormGeometry geometry = NormGeometry::of(NormKind::kGroup, 4, 64, kC, 1, 4);
  const ops::NormOptions options{
      .geometry = geometry, .activation = kernels::NormActivation::kRelu, .fork = true};
  const Tensor mean = input({4, 2}, 1).value, rstd = input({4, 2}, 2).value;
  const Var x = input(xs, 3, kShared), scale0 = input({kC}, 4), scale1 = input({kC}, 5),
            shift0 = input({kC}, 6), shift1 = input({kC}, 7);
  const std::vector<ops::NormLane> lanes{{mean, rstd, scale0, shift0},
                                         {mean, rstd, scale1, shift1}};
  const std::array<const Var*, 5> leaves{&x, &scale0, &scale1, &shift0, &shift1};
  std::array<std::vector<std::vector<float>>, 2> results;
  std::array<size_t, 2> used{};
  for (const size_t fused : {0, 1}) {
    for (const Var* leaf : leaves) *leaf->gradient = {};
    Tape tape(poisoned());
    const size_t before = poisoned().memory()->used_bytes();
    const Var y = fused ? ops::norm_pool(tape, x, lanes, options, {})
                        : ops::max_pool(tape, ops::norm(tape, x, {}, lanes, options), {});
    used[fused] = poisoned().memory()->used_bytes() - before;
    EXPECT_EQ(y.shape(), (Shape{8, 4, 4, kC}));
    Evaluation(tape).sum(y);
    tape.backward();
    results[fused].push_back(y.value.to_host(poisoned()));
    for (const Var* leaf : leaves)
      results[fused].push_back(leaf->gradient->value.to_host(poisoned()));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(used[0] - used[1], static_cast<size_t>(result_bytes));
}

/// Both lanes have one mask, and each of them alone the same: two passes see what one pass saw.
TEST(Dropout, OfEitherLaneAloneHasTheSameMask) {
  const Shape half{3, 7};
  const Tensor ones = Tensor::empty(poisoned(), {6, 7});
  kernels::fill(poisoned(), {.y = ones.view(), .value = 1});
  Tape tape(poisoned(), Tape::Mode::kForwardOnly);
  const auto run = [&](const Tensor& x, Lanes lanes, uint32_t step) {
    return ops::dropout(tape, {x, lanes, nullptr}, {.probability = 0.5f, .step = step})
        .value.to_host(poisoned());
  };
  const std::vector<float> split = run(ones, kSplit, 3);
  const std::vector<float> first(split.begin(), split.begin() + half.size()),
      second(split.begin() + half.size(), split.end());
  EXPECT_EQ(first, second);
  for (const Lanes lanes : {kOne, Lanes::only(Branch::kPassport), kShared})
    EXPECT_EQ(run(ones.slice(0, half), lanes, 3), first);
  EXPECT_NE(run(ones.slice(0, half), kOne, 4), first);
}

TEST(Dropout, OfProbabilityZeroIsTheInput) {
  const Var x = input({3, 7}, 1);
  Tape tape(poisoned());
  const Var y = ops::dropout(tape, x, {.probability = 0});
  EXPECT_EQ(y.value.view().data, x.value.view().data);
  EXPECT_EQ(y.gradient, x.gradient);
}

/// The device's kernels refuse f16: it is stored so and convolved in f32, forward and backward.
TEST(Convolution, OfATypeThatTheDeviceCannotConvolve) {
  ASSERT_FALSE(kernels::convolves(poisoned(), DType::kF16));
  const Shape xs{2, 5, 4, 3}, ws{4, 3, 3, 3};
  const Var x32 = input(xs, 1), w = input(ws, 2), bias = input({4}, 3);
  Tape cast_tape(poisoned());
  const Var x16{
      ops::cast(cast_tape, constant(x32), DType::kF16).value, {}, std::make_shared<Gradient>()};
  const Var x_rounded{
      ops::cast(cast_tape, constant(x16), DType::kF32).value, {}, std::make_shared<Gradient>()};
  const auto run = [&](const Var& x) {
    for (const Var* v : {&w, &bias, &x}) v->gradient->written = false;
    Tape tape(poisoned());
    const Var y = ops::convolution(tape, x, w, bias, 1, 1);
    EXPECT_EQ(y.value.dtype(), x.value.dtype());
    const Var y32 = ops::cast(tape, y, DType::kF32);
    // 1: the same in both types
    kernels::fill(poisoned(), {.y = y32.sink(poisoned()).value.view(), .value = 1});
    tape.backward();
    std::vector<std::vector<float>> out{y32.value.to_host(poisoned())};
    for (const Var* v : {&w, &bias}) out.push_back(v->gradient->value.to_host(poisoned()));
    Tape read(poisoned());
    const Var dx{x.gradient->value, {}, nullptr};
    out.push_back(ops::cast(read, dx, DType::kF32).value.to_host(poisoned()));
    return out;
  };
  const auto expected = run(x_rounded), got = run(x16);
  for (size_t k = 0; k < 4; ++k) {
    ASSERT_EQ(got[k].size(), expected[k].size());
    const bool stored = k == 0 || k == 3;  // y and dx
    for (size_t i = 0; i < got[k].size(); ++i)
      ASSERT_EQ(got[k][i], stored ? static_cast<float>(float16(expected[k][i])) : expected[k][i])
          << k << " " << i;
  }
}

/// Rows of one branch never meet rows of another.
TEST(Ops, RefuseOperandsOfOtherLanes) {
  const Shape shape{2, 1, 1, kC};
  const Tensor table = Tensor::zeros(poisoned(), {1, kC});
  Tape tape(poisoned());
  for (const auto& [a, b] :
       {std::pair{kOne, kShared}, {kOne, Lanes::only(Branch::kPassport)}, {kSplit, kOne}}) {
    const Var x = input(shape, 1, a), y = input(shape, 2, b);
    EXPECT_THROW(ops::add(tape, x, y, true), Error);
    EXPECT_THROW(ops::add(tape, y, x, true), Error);
    EXPECT_THROW(ops::norm(tape, x, y, {{table, table, {}, {}}},
                           {.geometry = NormGeometry::of(NormKind::kBatch, 2, 1, kC, 1)}),
                 Error);
    const Var t = input({2, kC * kC}, 3, b);
    EXPECT_THROW(ops::batched_matmul(tape, x, t), Error);
  }
}

}  // namespace
}  // namespace passnorm::test
