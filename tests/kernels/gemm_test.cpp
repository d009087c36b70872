#include "kernels/gemm.hpp"

#include "bench/cases/gemm.hpp"
#include "tests/reference/gemm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

class Gemm : public testing::TestWithParam<cases::GemmCase> {};

TEST_P(Gemm, EveryTransposition) {
  const auto [m, n, k] = GetParam();
  const Buffer a(DType::kF32, uniform(m * k, 1)), b(DType::kF32, uniform(k * n, 2));
  const std::vector<double> before = uniform(m * n, 3);
  for (bool transpose_a : {false, true})
    for (bool transpose_b : {false, true})
      for (bool accumulate : {false, true}) {
        reference::Sums expected =
            reference::gemm(m, n, k, a.values(), transpose_a, b.values(), transpose_b);
        if (accumulate) expected += Buffer(DType::kF32, before).values();
        for (TestStream& s : streams()) {
          SCOPED_TRACE(testing::Message() << "transposed " << transpose_a << transpose_b
                                          << ", accumulate " << accumulate << ", " << name_of(s));
          const auto run = [&] {
            Buffer y = accumulate ? Buffer(DType::kF32, before) : Buffer(DType::kF32, m * n);
            kernels::gemm(s, {.m = m,
                              .n = n,
                              .k = k,
                              .a = a.read(),
                              .b = b.read(),
                              .y = y.write(),
                              .transpose_a = transpose_a,
                              .transpose_b = transpose_b,
                              .accumulate = accumulate});
            return y;
          };
          const Buffer y = run();
          EXPECT_TRUE(close(y, expected, {.terms = static_cast<double>(k) + 1}, {m, n}));
          EXPECT_TRUE(same_bits(y, run())) << "two runs";
        }
      }
}
INSTANTIATE_TEST_SUITE_P(Sizes, Gemm, testing::ValuesIn(cases::gemms()),
                         testing::PrintToStringParamName());

TEST(GemmErrors, SizesThatDisagree) {
  const Buffer a(DType::kF32, uniform(6, 1)), b(DType::kF32, uniform(5, 2));
  Buffer y(DType::kF32, 4);
  EXPECT_THROW(
      kernels::gemm(stream(),
                    {.m = 2, .n = 2, .k = 3, .a = a.read(), .b = b.read(), .y = y.write()}),
      Error);
}

}  // namespace
}  // namespace passnorm::test
