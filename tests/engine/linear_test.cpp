// Linear layers of every storage type: 16-bit factors where the device multiplies them, sums and
// result in f32.
#include <cmath>

#include "engine/ops/ops.hpp"
#include "kernels/convolution.hpp"
#include "tests/reference/gemm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/stream_options.hpp"
#include "tests/support/tolerance.hpp"
#include "tests/support/types.hpp"

#include <gtest/gtest.h>

namespace passnorm::test {
namespace {

using reference::Sums;
using reference::Values;

constexpr int64_t kRows = 7, kInputs = 50, kOutputs = 10;

class LinearOf : public testing::TestWithParam<DType> {
 protected:
  static Stream& stream() {
    // Never destroyed: at exit cuDNN ends before what was made ahead of its being opened.
#if PASSNORM_TEST_CUDA
    static Stream& made = *make_stream(Device::cuda(), stream_options()).release();
#else
    static Stream& made = *make_stream(Device::cpu(), stream_options(2)).release();
#endif
    return made;
  }
  /// Whether 16-bit factors are multiplied as they are.
  static bool rounds() {
    return GetParam() != DType::kF32 &&
           dispatch(stream(), [](auto& s) { return kernels::convolves(s, GetParam()); });
  }
  static Tensor tensor(const Shape& shape, const Values& v) {
    return Tensor::from<float>(stream(), shape, std::vector<float>(v.begin(), v.end()));
  }
  static Var leaf(const Shape& shape, const Values& v) {
    return {tensor(shape, v), {}, std::make_shared<Gradient>()};
  }
  Tensor as(const Tensor& t, DType dtype) {
    return ops::cast(casts_, {t, {}, nullptr}, dtype).value;
  }
  Values values(const Tensor& t) {
    const std::vector<float> v = as(t, DType::kF32).to_host(stream());
    return {v.begin(), v.end()};
  }

 private:
  Tape casts_{stream(), Tape::Mode::kForwardOnly};
};

/// Value and gradients. coarse: of multiples of 1/64 up to 1, which every type has: products are
/// multiples of 2^-12, and all sums of them exact in f32, in any order.
TEST_P(LinearOf, FactorsAsTheyAreStoredAndExactSums) {
  const DType storage = GetParam();
  const double u = rounds() ? unit_roundoff(storage) : 0;
  for (const bool coarse : {true, false}) {
    const auto numbers = [&](int64_t n, uint32_t tag) {
      Values v = uniform(n, tag);
      for (double& e : v)
        e = coarse ? std::round(64 * e) / 64 : static_cast<double>(static_cast<float>(e));
      return v;
    };
    const Var x{as(tensor({kRows, kInputs}, numbers(kRows * kInputs, 1)), storage),
                {},
                std::make_shared<Gradient>()};
    const Var w = leaf({kOutputs, kInputs}, numbers(kOutputs * kInputs, 2)),
              bias = leaf({kOutputs}, numbers(kOutputs, 3));
    const Values dy = numbers(kRows * kOutputs, 4), xs = values(x.value), ws = values(w.value),
                 b = values(bias.value);
    Tape tape(stream());
    const Var y = ops::linear(tape, x, w, bias);
    EXPECT_EQ(y.value.dtype(), DType::kF32);
    ASSERT_EQ(y.shape(), (Shape{kRows, kOutputs}));
    const std::vector<float> given(dy.begin(), dy.end());
    y.sink(stream()).value.copy_from<float>(stream(), given);
    tape.backward();

    // terms: of a sum. rounded: factors that were rounded to the storage type.
    const auto expect = [&](const char* name, const Tensor& t, const Sums& sums, int64_t terms,
                            int rounded) {
      const Values got = values(t);
      ASSERT_EQ(got.size(), sums.value.size()) << name;
      for (size_t i = 0; i < got.size(); ++i) {
        double tolerance = 0;
        if (!coarse)
          tolerance = sums.magnitude[i] * (gamma(static_cast<double>(terms), 0x1p-24) +
                                           (rounded > 0 ? gamma(rounded, u) : 0));
        if (t.dtype() != DType::kF32)
          tolerance += unit_roundoff(t.dtype()) * (std::abs(sums.value[i]) + tolerance);
        EXPECT_LE(std::abs(got[i] - sums.value[i]), tolerance) << name << " " << i;
      }
    };
    Sums sum = reference::gemm(kRows, kOutputs, kInputs, xs, false, ws, true), db(kOutputs);
    for (int64_t i = 0; i < kRows * kOutputs; ++i) {
      sum.add(i, b[static_cast<size_t>(i % kOutputs)]);
      db.add(i % kOutputs, dy[static_cast<size_t>(i)]);
    }
    expect("y", y.value, sum, kInputs + 1, 1);
    expect("dx", x.gradient->value, reference::gemm(kRows, kInputs, kOutputs, dy, false, ws, false),
           kOutputs, 2);
    expect("dw", w.gradient->value, reference::gemm(kOutputs, kInputs, kRows, dy, true, xs, false),
           kRows, 1);
    expect("dbias", bias.gradient->value, db, kRows, 1);
    EXPECT_EQ(x.gradient->value.dtype(), storage);
    EXPECT_EQ(w.gradient->value.dtype(), DType::kF32);
  }
}

INSTANTIATE_TEST_SUITE_P(Storage, LinearOf, testing::ValuesIn(kStorage),
                         [](const auto& p) { return std::string(name_of(p.param)); });

}  // namespace
}  // namespace passnorm::test
