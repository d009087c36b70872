// Parameters: names, arenas, initial values, and the order of elements in files.
#include "engine/nn/parameter.hpp"

#include <cmath>
#include <numeric>

#include "engine/nn/layers.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

std::vector<float> counting(int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0.0f);
  return v;
}

/// Element [o][kh][kw][i] of memory stands in the file at [o][i][kh][kw].
TEST(FileOrder, OfConvolutions) {
  const TensorSpec spec{
      .name = "w", .shape = {4, 3, 2, 5}, .init = {}, .layout = FileLayout::kConvolution};
  const std::vector<float> file = to_file_order(spec, counting(120));
  EXPECT_EQ(file_shape(spec), (std::vector<int64_t>{4, 5, 3, 2}));
  for (size_t o = 0; o < 4; ++o)
    for (size_t h = 0; h < 3; ++h)
      for (size_t w = 0; w < 2; ++w)
        for (size_t i = 0; i < 5; ++i)
          ASSERT_EQ(file[((o * 5 + i) * 3 + h) * 2 + w],
                    static_cast<float>(((o * 3 + h) * 2 + w) * 5 + i));
  EXPECT_EQ(from_file_order(spec, file), counting(120));
}

/// A linear layer behind a flattened image: file [O][C H W], memory [O][H W C].
TEST(FileOrder, OfFlattenedClassifiers) {
  const TensorSpec spec{
      .name = "w", .shape = {2, 12}, .init = {}, .layout = FileLayout::kFlattened, .positions = 4};
  EXPECT_EQ(file_shape(spec), (std::vector<int64_t>{2, 12}));
  EXPECT_EQ(to_file_order(spec, counting(24)),
            (std::vector<float>{0,  3,  6,  9,  1,  4,  7,  10, 2,  5,  8,  11,
                                12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23}));
  EXPECT_EQ(from_file_order(spec, to_file_order(spec, counting(24))), counting(24));
}

TEST(FileOrder, OfEverythingElseIsThatOfMemory) {
  const TensorSpec spec{.name = "b", .shape = {2, 3}, .init = {}};
  EXPECT_EQ(to_file_order(spec, counting(6)), counting(6));
  EXPECT_EQ(from_file_order(spec, counting(6)), counting(6));
  EXPECT_EQ(file_shape(spec), (std::vector<int64_t>{2, 3}));
}

class ParameterSetTest : public testing::Test {
 protected:
  CpuStream stream_{1};
};

TEST_F(ParameterSetTest, LiesInArenasWithoutOverlap) {
  ParameterSet set;
  const Parameter& a = set.add({.name = "a", .shape = {3, 7}, .init = Init::constant(2)});
  const Parameter& b = set.add({.name = "b", .shape = {1}, .init = Init::constant(3)});
  set.add({.name = "c", .shape = {16}, .init = Init::constant(4)});
  const passnorm::Buffer& m =
      set.add_buffer({.name = "a", .shape = {5}, .init = Init::constant(5)});
  set.allocate(stream_, 1);
  EXPECT_EQ(set.count(), 21 + 1 + 16);
  ASSERT_EQ(set.weights().size(), 32 + 16 + 16);
  ASSERT_EQ(set.gradients().size(), set.weights().size());
  std::vector<float> expected(64, 0);  // padding is zero
  std::fill_n(expected.begin(), 21, 2.0f);
  expected[32] = 3;
  std::fill_n(expected.begin() + 48, 16, 4.0f);
  EXPECT_EQ(set.weights().to_host(stream_), expected);
  for (const Parameter& p : set.parameters()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p.var.value.span().data()) % 64, 0u);
    EXPECT_EQ(p.var.value.span().data() - set.weights().span().data(),
              p.var.gradient->value.span().data() - set.gradients().span().data());
  }
  EXPECT_EQ(m.value.to_host(stream_), std::vector<float>(5, 5));
  EXPECT_EQ(set.find("b"), &b);
  EXPECT_EQ(set.find("a"), &a);
  EXPECT_EQ(set.find_buffer("a"), &m);
  EXPECT_EQ(set.find("d"), nullptr);
  EXPECT_EQ(set.find_buffer("b"), nullptr);
}

TEST_F(ParameterSetTest, RefusesDuplicates) {
  ParameterSet set;
  set.add({.name = "a", .shape = {1}, .init = {}});
  set.add_buffer({.name = "b", .shape = {1}, .init = {}});
  EXPECT_CONTAINS(refusal(Fault::kBug, [&] { set.add({.name = "a", .shape = {2}, .init = {}}); }),
                  "two parameters named a");
  EXPECT_CONTAINS(
      refusal(Fault::kBug, [&] { set.add_buffer({.name = "b", .shape = {2}, .init = {}}); }),
      "two buffers named b");
}

TEST_F(ParameterSetTest, GradientsOverwriteOnceAndEndComplete) {
  ParameterSet set;
  const Parameter &a = set.add({.name = "a", .shape = {2}, .init = {}}),
                  &b = set.add({.name = "b", .shape = {2}, .init = {}});
  set.allocate(stream_, 1);
  const auto add = [&](const Parameter& p, float v) {
    const GradientSink to = p.var.sink(stream_);
    for (float& g : to.value.span()) g = v + (to.accumulate ? g : 0);
  };
  add(a, 1), add(b, 1);
  set.begin_gradients();
  add(a, 2), add(a, 3);
  set.finish_gradients(stream_);
  EXPECT_EQ(a.var.gradient->value.to_host(stream_), (std::vector<float>{5, 5}));
  EXPECT_EQ(b.var.gradient->value.to_host(stream_), (std::vector<float>{0, 0}))
      << "of the step before";
  add(b, 4), add(a, 1);  // a second pass of the same step
  set.finish_gradients(stream_);
  EXPECT_EQ(a.var.gradient->value.to_host(stream_), (std::vector<float>{6, 6}));
  EXPECT_EQ(b.var.gradient->value.to_host(stream_), (std::vector<float>{4, 4}));
}

/// Bounds and moments of the documented distributions; the same seed gives the same numbers,
/// tensors differ.
TEST_F(ParameterSetTest, InitialValuesFollowTheirFormula) {
  const auto make = [&](uint64_t seed) {
    auto set = std::make_unique<ParameterSet>();
    const Convolution conv(
        *set, "conv",
        {.n = 1, .h = 8, .w = 8, .c = 32, .o = 64, .kh = 3, .kw = 3, .stride = 1, .pad = 1});
    const Linear linear(*set, "linear", 400, 50);
    set->allocate(stream_, seed);
    return set;
  };
  const auto set = make(5), same = make(5), other = make(6);
  const auto of = [&](ParameterSet& s, const char* name) {
    return s.find(name)->var.value.to_host(stream_);
  };
  const std::vector<float> conv = of(*set, "conv.weight"), linear = of(*set, "linear.weight"),
                           bias = of(*set, "linear.bias");
  EXPECT_EQ(conv, of(*same, "conv.weight"));
  EXPECT_NE(conv, of(*other, "conv.weight"));
  const auto variance = [](const std::vector<float>& v) {
    return std::inner_product(v.begin(), v.end(), v.begin(), 0.0) / static_cast<double>(v.size());
  };
  // the variance of n samples has a relative deviation of sqrt(2 / n) (normal) or sqrt(0.8 / n)
  // (uniform); five of them
  const double n = static_cast<double>(conv.size()), m = static_cast<double>(linear.size());
  EXPECT_NEAR(variance(conv) / (2.0 / (64 * 9)), 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(std::accumulate(conv.begin(), conv.end(), 0.0) / n, 0,
              5 * std::sqrt(2.0 / (64 * 9) / n));
  EXPECT_NEAR(variance(linear) * 3 * 400, 1, 5 * std::sqrt(0.8 / m));
  for (const auto& v : {linear, bias})
    for (const float e : v) EXPECT_LE(std::abs(e), 1 / std::sqrt(400.0f));
  EXPECT_FALSE(std::equal(bias.begin(), bias.end(), linear.begin()));
}

TEST_F(ParameterSetTest, FrozenParametersHaveNoGradient) {
  ParameterSet set;
  Parameter& a = set.add({.name = "a", .shape = {3}, .init = Init::constant(2)});
  Parameter& b = set.add({.name = "b", .shape = {2}, .init = Init::constant(3)});
  set.allocate(stream_, 1);
  for (Parameter* p : {&a, &b})
    p->var.gradient->value.copy_from<float>(
        stream_, std::vector<float>(static_cast<size_t>(p->spec.shape.size()), 5));
  set.train_only(stream_, [](const TensorSpec& spec) { return spec.name == "b"; });
  EXPECT_FALSE(a.var.gradient);
  ASSERT_TRUE(b.var.gradient);
  EXPECT_EQ(set.gradients().to_host(stream_), std::vector<float>(32, 0));
  set.begin_gradients();
  set.finish_gradients(stream_);
  EXPECT_TRUE(b.var.gradient->written);
  // Trained again, in its old place of the arena.
  set.train_only(stream_, [](const TensorSpec&) { return true; });
  ASSERT_TRUE(a.var.gradient);
  EXPECT_EQ(a.var.gradient->value.span().data(), set.gradients().span().data());
  EXPECT_EQ(b.var.gradient->value.span().data(), set.gradients().span().data() + 16);
}

}  // namespace
}  // namespace passnorm::test
