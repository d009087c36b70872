#include "kernels/batched_matmul.hpp"

#include "tests/reference/gemm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using kernels::BatchedMatmulGeometry;

/// Which factor two products read.
enum class Shared { kNone, kX, kT };

struct Param {
  BatchedMatmulGeometry size;
  Shared shared;
  DType dtype;
};
void PrintTo(const Param& p, std::ostream* out) {
  const char* shared[] = {"", "_x_shared", "_t_shared"};
  *out << "n" << p.size.batches << "_l" << p.size.l << "_i" << p.size.i << "_j" << p.size.j
       << shared[static_cast<int>(p.shared)] << "_" << name_of(p.dtype);
}
std::vector<Param> params() {
  std::vector<Param> all;
  for (DType dtype : kStorage)
    for (Shared shared : {Shared::kNone, Shared::kX, Shared::kT})
      for (const BatchedMatmulGeometry& g :
           {BatchedMatmulGeometry{2, 1, 1, 1}, BatchedMatmulGeometry{4, 5, 3, 3},
            BatchedMatmulGeometry{2, 1030, 3, 3}, BatchedMatmulGeometry{2, 7, 2, 4},
            BatchedMatmulGeometry{2, 70, 64, 64}, BatchedMatmulGeometry{6, 9, 5, 2},
            BatchedMatmulGeometry{2, 65, 31, 33}, BatchedMatmulGeometry{2, 130, 8, 12},
            BatchedMatmulGeometry{2, 33, 64, 3}, BatchedMatmulGeometry{2, 31, 4, 64}})
        all.push_back({g, shared, dtype});
  return all;
}

std::vector<double> part(const std::vector<double>& all, int64_t n, int64_t size) {
  return {all.begin() + n * size, all.begin() + (n + 1) * size};
}

class BatchedMatmul : public testing::TestWithParam<Param> {
 protected:
  const BatchedMatmulGeometry& g() const { return GetParam().size; }
  DType dtype() const { return GetParam().dtype; }
  int64_t xs() const { return GetParam().shared == Shared::kX ? g().batches / 2 : g().batches; }
  int64_t ts() const { return GetParam().shared == Shared::kT ? g().batches / 2 : g().batches; }
  int64_t x_size() const { return g().l * g().i; }
  int64_t t_size() const { return g().i * g().j; }
  int64_t y_size() const { return g().l * g().j; }

  Buffer x() const { return Buffer(dtype(), uniform(xs() * x_size(), 1)); }
  Buffer t() const { return Buffer(DType::kF32, uniform(ts() * t_size(), 2)); }
  Buffer dy() const { return Buffer(dtype(), uniform(g().batches * y_size(), 3)); }
};

TEST_P(BatchedMatmul, Forward) {
  const Buffer x = this->x(), t = this->t();
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(dtype(), g().batches * y_size());
    kernels::batched_matmul(
        s, {.geometry = g(), .x = x.read(), .t = t.read_as<float>(), .y = y.write()});
    return list(std::move(y));
  });
  reference::Sums expected(out[0].size());
  for (int64_t n = 0; n < g().batches; ++n) {
    const reference::Sums one =
        reference::gemm(g().l, g().j, g().i, part(x.values(), n % xs(), x_size()), false,
                        part(t.values(), n % ts(), t_size()), false);
    for (int64_t k = 0; k < y_size(); ++k)
      expected.add(n * y_size() + k, one.value[static_cast<size_t>(k)],
                   one.magnitude[static_cast<size_t>(k)]);
  }
  EXPECT_TRUE(
      close(out[0], expected, {.terms = static_cast<double>(g().i)}, {g().batches, g().l, g().j}));
}

TEST_P(BatchedMatmul, Backward) {
  const Buffer x = this->x(), t = this->t(), dy = this->dy();
  const Buffer dx_before(dtype(), uniform(x.size(), 4)),
      dt_before(DType::kF32, uniform(t.size(), 5));
  reference::Sums dx(x.size()), dt(t.size());
  const auto add = [](reference::Sums& to, int64_t at, const reference::Sums& one) {
    for (int64_t k = 0; k < one.size(); ++k)
      to.add(at + k, one.value[static_cast<size_t>(k)], one.magnitude[static_cast<size_t>(k)]);
  };
  for (int64_t n = 0; n < g().batches; ++n) {
    const auto y_part = part(dy.values(), n, y_size());
    add(dx, n % xs() * x_size(),
        reference::gemm(g().l, g().i, g().j, y_part, false, part(t.values(), n % ts(), t_size()),
                        true));
    add(dt, n % ts() * t_size(),
        reference::gemm(g().i, g().j, g().l, part(x.values(), n % xs(), x_size()), true, y_part,
                        false));
  }
  for (bool accumulate : {false, true}) {
    if (accumulate) dx += dx_before.values(), dt += dt_before.values();
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer to_x = accumulate ? Buffer(dtype(), dx_before.values()) : Buffer(dtype(), x.size()),
             to_t = accumulate ? Buffer(DType::kF32, dt_before.values())
                               : Buffer(DType::kF32, t.size());
      kernels::batched_matmul_backward(s, {.geometry = g(),
                                           .x = x.read(),
                                           .t = t.read_as<float>(),
                                           .dy = dy.read(),
                                           .dx = to_x.write(),
                                           .dt = to_t.write_as<float>(),
                                           .accumulate_dx = accumulate,
                                           .accumulate_dt = accumulate});
      return list(std::move(to_x), std::move(to_t));
    });
    const auto terms = [](int64_t products) { return static_cast<double>(2 * products) + 1; };
    EXPECT_TRUE(close(out[0], dx, {.terms = terms(g().j)}, {xs(), g().l, g().i})) << accumulate;
    EXPECT_TRUE(close(out[1], dt, {.terms = terms(g().l)}, {ts(), g().i, g().j})) << accumulate;
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, BatchedMatmul, testing::ValuesIn(params()),
                         testing::PrintToStringParamName());

/// Either gradient alone, and the same bits as of both.
TEST(BatchedMatmulParts, OneGradientIsWanted) {
  const BatchedMatmulGeometry g{2, 33, 8, 8};
  const Buffer x(DType::kBF16, uniform(2 * 33 * 8, 1)), t(DType::kF32, uniform(2 * 64, 2)),
      dy(DType::kBF16, uniform(2 * 33 * 8, 3));
  const auto run = [&](bool want_x, bool want_t) {
    Buffer dx(DType::kBF16, want_x ? x.size() : 0), dt(DType::kF32, want_t ? t.size() : 0);
    kernels::batched_matmul_backward(stream(), {.geometry = g,
                                                .x = x.read(),
                                                .t = t.read_as<float>(),
                                                .dy = dy.read(),
                                                .dx = dx.write(),
                                                .dt = dt.write_as<float>()});
    return list(std::move(dx), std::move(dt));
  };
  const auto both = run(true, true);
  EXPECT_TRUE(same_bits(run(true, false)[0], both[0]));
  EXPECT_TRUE(same_bits(run(false, true)[1], both[1]));
}

TEST(BatchedMatmulErrors, SizesThatDisagree) {
  const Buffer numbers(DType::kF32, uniform(4 * 65, 1));
  Buffer y(DType::kF32, 4 * 65);
  const auto multiply = [&](const BatchedMatmulGeometry& g, int64_t x, int64_t t, int64_t out) {
    const auto count = [](int64_t n) { return static_cast<size_t>(n); };
    kernels::batched_matmul(stream(), {.geometry = g,
                                       .x = numbers.read_as<float>().first(count(x)),
                                       .t = numbers.read_as<float>().first(count(t)),
                                       .y = y.write_as<float>().first(count(out))});
  };
  EXPECT_NO_THROW(multiply({2, 3, 2, 2}, 12, 8, 12));
  EXPECT_NO_THROW(multiply({2, 3, 2, 2}, 6, 8, 12));
  EXPECT_NO_THROW(multiply({2, 3, 2, 2}, 12, 4, 12));
  EXPECT_THROW(multiply({2, 3, 2, 2}, 6, 4, 12), Error);  // then there is one product
  EXPECT_THROW(multiply({2, 3, 2, 2}, 12, 8, 6), Error);
  EXPECT_THROW(multiply({2, 3, 2, 2}, 12, 7, 12), Error);
  EXPECT_THROW(multiply({1, 2, 1, 65}, 2, 65, 130), Error);
  EXPECT_THROW(multiply({1, 2, 65, 1}, 130, 65, 2), Error);
}

}  // namespace
}  // namespace passnorm::test
