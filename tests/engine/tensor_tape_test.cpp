// Tensors, lanes, and the order in which a tape differentiates.
#include "engine/autograd/tape.hpp"

#include <cmath>
#include <functional>

#include "engine/ops/ops.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

class TensorTest : public testing::Test {
 protected:
  Tensor of(const Shape& shape, const std::vector<float>& v) {
    return Tensor::from<float>(stream_, shape, v);
  }
  std::vector<float> values(const Tensor& t) { return t.to_host(stream_); }
  /// A closure that adds v to the gradient of x.
  void give(const Var& x, float v) {
    const GradientSink to = x.sink(stream_);
    for (float& e : to.value.span()) e = v + (to.accumulate ? e : 0);
  }

  CpuStream stream_{1};
};

using Tensors = TensorTest;

TEST_F(Tensors, AreHandlesOfSharedElements) {
  const Tensor a = of({2, 3}, {0, 1, 2, 3, 4, 5});
  const Tensor part = a.slice(2, {3}), again = a.reshape({3, 1, 2, 1});
  part.span()[0] = 20;
  again.span()[3] = 30;
  EXPECT_EQ(values(a), (std::vector<float>{0, 1, 20, 30, 4, 5}));
  EXPECT_EQ(values(part.slice(1, {2})), (std::vector<float>{30, 4}));
  EXPECT_EQ(again.shape(), (Shape{3, 1, 2, 1}));
  EXPECT_EQ(Tensor::zeros(stream_, {4}).to_host(stream_), std::vector<float>(4, 0));
}

TEST_F(Tensors, HoldTheirMemoryUntilTheLastHandle) {
  const size_t before = stream_.memory()->used_bytes();
  Tensor part;
  {
    const Tensor a = of({1024}, std::vector<float>(1024, 7));
    part = a.slice(1000, {24});
  }
  EXPECT_EQ(values(part), std::vector<float>(24, 7));
  EXPECT_GE(stream_.memory()->used_bytes(), before + 4096);
  part = {};
  EXPECT_EQ(stream_.memory()->used_bytes(), before);
}

TEST_F(Tensors, KeepTheirType) {
  const Tensor t = Tensor::from<int32_t>(stream_, {3}, std::vector<int32_t>{1, -2, 3});
  EXPECT_EQ(t.dtype(), DType::kI32);
  EXPECT_EQ(t.slice(1, {2}).to_host<int32_t>(stream_), (std::vector<int32_t>{-2, 3}));
  EXPECT_THROW(t.span<float>(), Error);
  EXPECT_THROW(values(t), Error);
  EXPECT_EQ(Tensor::empty(stream_, {3}, DType::kBF16).view().size, 3);
}

TEST_F(Tensors, RefuseWhatDoesNotFit) {
  const Tensor a = of({2, 3}, std::vector<float>(6));
  for (const auto& f : std::vector<std::function<void()>>{
           [&] { a.slice(4, {3}); }, [&] { a.slice(-1, {2}); }, [&] { a.reshape({7}); },
           [&] { a.copy_from<float>(stream_, std::vector<float>(5)); },
           [&] {
             of({2}, {1, 2, 3});
           }})
    refusal(Fault::kBug, f);
}

TEST_F(Tensors, WithoutElementsHaveAnEmptyView) {
  const Tensor none;
  EXPECT_FALSE(none);
  EXPECT_FALSE(none.view());
  EXPECT_EQ(none.view().size, 0);
  EXPECT_TRUE(none.span().empty());
  EXPECT_TRUE(Tensor::empty(stream_, {0}).to_host(stream_).empty());
}

TEST(LanesTest, SayWhatTheRowsStandFor) {
  const Lanes one = Lanes::only(Branch::kPublic), other = Lanes::only(Branch::kPassport),
              shared = Lanes::shared(), split = Lanes::split();
  const auto facts = [](Lanes l) {
    return std::array<int, 6>{
        l.is_shared(), l.is_split(), l.is_both(), l.has(Branch::kPublic), l.has(Branch::kPassport),
        l.parts()};
  };
  EXPECT_EQ(facts(one), (std::array<int, 6>{0, 0, 0, 1, 0, 1}));
  EXPECT_EQ(facts(other), (std::array<int, 6>{0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(facts(shared), (std::array<int, 6>{1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(facts(split), (std::array<int, 6>{0, 1, 1, 1, 1, 2}));
  EXPECT_EQ(one.branch(), Branch::kPublic);
  EXPECT_EQ(other.branch(), Branch::kPassport);
  EXPECT_EQ(Lanes(), one);
  EXPECT_FALSE(one == other || shared == split || one == shared);
  refusal(Fault::kBug, [&] { shared.branch(); });
  refusal(Fault::kBug, [&] { split.branch(); });
}

using TapeTest = TensorTest;

TEST_F(TapeTest, RunsClosuresFromTheLastToTheFirstAndOnce) {
  const Var x{of({1}, {1}), {}, std::make_shared<Gradient>()};
  Tape tape(stream_);
  std::string order;
  const Var y = tape.result(of({1}, {2}), {}, x), z = tape.result(of({1}, {3}), {}, y),
            unused = tape.result(of({1}, {4}), {}, x);
  tape.record(y, [&](const Tensor& dy) { order += "y", give(x, dy.span()[0] * 10); });
  tape.record(unused, [&](const Tensor&) { order += "!"; });
  tape.record(z, [&](const Tensor& dz) { order += "z", give(y, dz.span()[0] + 1); });
  give(z, 5);
  EXPECT_EQ(order, "");
  tape.backward();
  EXPECT_EQ(order, "zy") << "nothing wrote the gradient of what is unused";
  EXPECT_EQ(values(x.gradient->value), std::vector<float>{60});
  tape.backward();
  EXPECT_EQ(order, "zy");
}

TEST_F(TapeTest, FirstGradientOverwritesLaterOnesAdd) {
  const Var x{
      of({2}, {1, 2}), {}, std::make_shared<Gradient>(Gradient{of({2}, {NAN, NAN}), false})};
  const void* memory = x.gradient->value.span().data();
  give(x, 3);
  give(x.reshape({2, 1}), 4);
  EXPECT_EQ(values(x.gradient->value), (std::vector<float>{7, 7}));
  EXPECT_EQ(x.gradient->value.span().data(), memory);
  refusal(Fault::kBug, [&] { Var{of({2}, {1, 2}), {}, nullptr}.sink(stream_); });
}

TEST_F(TapeTest, ResultsHaveGradientsWhereAnInputHas) {
  const Var with{of({1}, {1}), {}, std::make_shared<Gradient>()},
      without{of({1}, {1}), {}, nullptr};
  Tape recording(stream_), forward(stream_, Tape::Mode::kForwardOnly);
  EXPECT_TRUE(recording.result(of({1}, {1}), {}, without, with).gradient);
  EXPECT_FALSE(recording.result(of({1}, {1}), {}, without, without).gradient);
  EXPECT_FALSE(recording.result(of({1}, {1}), {}).gradient);
  EXPECT_FALSE(forward.result(of({1}, {1}), {}, with).gradient);
  EXPECT_TRUE(recording.differentiates(with));
  EXPECT_FALSE(recording.differentiates(without) || forward.differentiates(with));
}

TEST_F(TapeTest, FreesWhatAnOperationKeptAsSoonAsItIsDifferentiated) {
  Tape tape(stream_);
  Var x{of({1024}, std::vector<float>(1024, 1)), {}, std::make_shared<Gradient>()};
  size_t at_the_first = 0;
  const size_t before = stream_.memory()->used_bytes();
  {
    const Var y = tape.result(of({1}, {0}), {}, x);
    tape.record(y, [&](const Tensor&) { at_the_first = stream_.memory()->used_bytes(); });
    const Var z = tape.result(of({1}, {0}), {}, y);
    tape.record(z,
                [&, y, kept = of({4096}, std::vector<float>(4096))](const Tensor&) { give(y, 1); });
    give(z, 1);
  }
  EXPECT_GE(stream_.memory()->used_bytes(), before + 16384);
  tape.backward();
  EXPECT_LT(at_the_first, before + 16384);
  EXPECT_EQ(stream_.memory()->used_bytes(), before);
}

TEST_F(TapeTest, SlicesWriteIntoTheirWhole) {
  for (const bool has_memory : {false, true}) {
    Var x{of({4}, {1, 2, 3, 4}), {}, std::make_shared<Gradient>()};
    if (has_memory) x.gradient->value = of({4}, {NAN, NAN, NAN, NAN});
    Tape tape(stream_);
    const Var middle = ops::slice(tape, x, 1, {2}), last = ops::slice(tape, x, 3, {1});
    EXPECT_EQ(values(middle.value), (std::vector<float>{2, 3}));
    give(middle, 5);
    give(last, 7);
    give(x, 1);
    EXPECT_EQ(values(x.gradient->value), (std::vector<float>{1, 6, 6, 8}));
    refusal(Fault::kBug, [&] { ops::slice(tape, x, 3, {2}); });
  }
}

}  // namespace
}  // namespace passnorm::test
