#include "kernels/pooling.hpp"

#include "tests/reference/pooling.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using kernels::PoolGeometry;

struct Param {
  PoolGeometry size;
  DType dtype;
};
void PrintTo(const Param& p, std::ostream* out) {
  *out << "n" << p.size.n << "_" << p.size.h << "x" << p.size.w << "_c" << p.size.c << "_window"
       << p.size.size << "_stride" << p.size.stride << "_pad" << p.size.pad << "_"
       << name_of(p.dtype);
}
std::vector<Param> params() {
  std::vector<Param> all;
  for (const PoolGeometry& g :
       {PoolGeometry{1, 1, 1, 1, 1, 1, 0}, PoolGeometry{2, 4, 6, 31, 2, 2, 0},
        PoolGeometry{1, 5, 7, 33, 2, 2, 0}, PoolGeometry{2, 9, 8, 32, 3, 2, 1},
        PoolGeometry{1, 6, 6, 5, 3, 1, 1}, PoolGeometry{1, 7, 7, 65, 3, 3, 0},
        PoolGeometry{2, 32, 32, 64, 2, 2, 0}, PoolGeometry{1, 16, 16, 2, 16, 16, 0}})
    for (DType dtype : kStorage) all.push_back({g, dtype});
  return all;
}

class MaxPool : public testing::TestWithParam<Param> {
 protected:
  const PoolGeometry& g() const { return GetParam().size; }
  DType dtype() const { return GetParam().dtype; }
  reference::Pool pool() const {
    return {g().n, g().h, g().w, g().c, g().size, g().stride, g().pad};
  }
  int64_t x_size() const { return g().n * g().h * g().w * g().c; }
  int64_t y_size() const { return pool().y_size(); }
};

/// Few distinct values: most windows have ties, and the first must win.
TEST_P(MaxPool, ForwardWithTies) {
  for (uint32_t distinct : {3u, 1000u}) {
    std::vector<double> values = whole(x_size(), 1, distinct);
    for (double& v : values) v -= distinct / 2.0 + 500;  // all negative: padding must not win
    const Buffer x(dtype(), values);
    const reference::MaxPool expected = reference::max_pool_forward(pool(), x.values());
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer y(dtype(), y_size()), argmax(DType::kU8, y_size());
      kernels::max_pool_forward(
          s,
          {.geometry = g(), .x = x.read(), .y = y.write(), .argmax = argmax.write_as<uint8_t>()});
      return list(std::move(y), std::move(argmax));
    });
    EXPECT_TRUE(equal(out[0], expected.y));
    EXPECT_TRUE(equal(out[1], std::vector<double>(expected.argmax.begin(), expected.argmax.end())));
  }
}

TEST_P(MaxPool, NanWins) {
  std::vector<double> values = uniform(x_size(), 1);
  for (size_t i = 0; i < values.size(); i += 7) values[i] = std::nan("");
  values.back() = std::numeric_limits<double>::infinity();
  const Buffer x(dtype(), values);
  Buffer y(dtype(), y_size()), argmax(DType::kU8, y_size());
  kernels::max_pool_forward(
      stream(),
      {.geometry = g(), .x = x.read(), .y = y.write(), .argmax = argmax.write_as<uint8_t>()});
  EXPECT_TRUE(equal(y, reference::max_pool_forward(pool(), x.values()).y));
}

TEST_P(MaxPool, Backward) {
  const Buffer x(dtype(), uniform(x_size(), 1)), dy(dtype(), uniform(y_size(), 2)),
      before(dtype(), uniform(x_size(), 3));
  const reference::MaxPool forward = reference::max_pool_forward(pool(), x.values());
  const Buffer argmax(DType::kU8,
                      std::vector<double>(forward.argmax.begin(), forward.argmax.end()));
  // An element lies in at most this many windows.
  const double windows = std::pow(static_cast<double>((g().size + g().stride - 1) / g().stride), 2);
  for (bool accumulate : {false, true}) {
    reference::Sums expected = reference::max_pool_backward(pool(), dy.values(), forward.argmax);
    if (accumulate) expected += before.values();
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer dx = accumulate ? Buffer(dtype(), before.values()) : Buffer(dtype(), x_size());
      kernels::max_pool_backward(s, {.geometry = g(),
                                     .dy = dy.read(),
                                     .argmax = argmax.read_as<uint8_t>(),
                                     .dx = dx.write(),
                                     .accumulate = accumulate});
      return list(std::move(dx));
    });
    EXPECT_TRUE(close(out[0], expected, {.terms = windows + 1}, {g().n, g().h, g().w, g().c}))
        << "accumulate " << accumulate;
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, MaxPool, testing::ValuesIn(params()),
                         testing::PrintToStringParamName());

TEST(MaxPoolErrors, WindowTooLargeForItsIndex) {
  const PoolGeometry g{1, 17, 17, 1, 17, 17, 0};
  const Buffer x(DType::kF32, uniform(17 * 17, 1));
  Buffer y(DType::kF32, 1), argmax(DType::kU8, 1);
  EXPECT_THROW(
      kernels::max_pool_forward(
          stream(),
          {.geometry = g, .x = x.read(), .y = y.write(), .argmax = argmax.write_as<uint8_t>()}),
      Error);
}

struct Global {
  int64_t n, s, c;
  DType dtype;
};
void PrintTo(const Global& p, std::ostream* out) {
  *out << "n" << p.n << "_s" << p.s << "_c" << p.c << "_" << name_of(p.dtype);
}
std::vector<Global> globals() {
  std::vector<Global> all;
  for (DType dtype : kStorage)
    for (const auto& [n, s, c] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                  {3, 16, 31},
                                  {2, 1, 33},
                                  {1, 1024, 64},
                                  {5, 33, 32},
                                  {2, 7, 130}})
      all.push_back({n, s, c, dtype});
  return all;
}
class GlobalPool : public testing::TestWithParam<Global> {};

TEST_P(GlobalPool, Mean) {
  const auto [n, s, c, dtype] = GetParam();
  const Buffer x(dtype, uniform(n * s * c, 1)), dy(dtype, uniform(n * c, 2)),
      before(dtype, uniform(n * s * c, 3));
  const auto y = on_every_stream([&, n = n, s = s, c = c, dtype = dtype](TestStream& st) {
    Buffer out(dtype, n * c);
    kernels::global_mean_forward(st, {.n = n, .s = s, .c = c, .x = x.read(), .y = out.write()});
    return list(std::move(out));
  });
  EXPECT_TRUE(close(y[0], reference::global_mean(n, s, c, x.values()),
                    {.terms = static_cast<double>(s) + 1}, {n, c}));
  for (bool accumulate : {false, true}) {
    reference::Sums expected(n * s * c);
    for (int64_t i = 0; i < n * s * c; ++i)
      expected.add(i, dy[i / (s * c) * c + i % c] / static_cast<double>(s));
    if (accumulate) expected += before.values();
    const auto dx = on_every_stream([&, n = n, s = s, c = c, dtype = dtype](TestStream& st) {
      Buffer out = accumulate ? Buffer(dtype, before.values()) : Buffer(dtype, n * s * c);
      kernels::global_mean_backward(
          st,
          {.n = n, .s = s, .c = c, .dy = dy.read(), .dx = out.write(), .accumulate = accumulate});
      return list(std::move(out));
    });
    EXPECT_TRUE(close(dx[0], expected, {.terms = 3}, {n, s, c})) << "accumulate " << accumulate;
  }
}

TEST_P(GlobalPool, Max) {
  const auto [n, s, c, dtype] = GetParam();
  std::vector<double> values = whole(n * s * c, 1, 5);
  for (double& v : values) v -= 100;
  const Buffer x(dtype, values), dy(dtype, uniform(n * c, 2)), before(dtype, uniform(n * s * c, 3));
  const reference::MaxPool expected = reference::global_max(n, s, c, x.values());
  const auto out = on_every_stream([&, n = n, s = s, c = c, dtype = dtype](TestStream& st) {
    Buffer y(dtype, n * c), argmax(DType::kI32, n * c);
    kernels::global_max_forward(st, {.n = n,
                                     .s = s,
                                     .c = c,
                                     .x = x.read(),
                                     .y = y.write(),
                                     .argmax = argmax.write_as<int32_t>()});
    return list(std::move(y), std::move(argmax));
  });
  EXPECT_TRUE(equal(out[0], expected.y));
  const Buffer argmax(DType::kI32,
                      std::vector<double>(expected.argmax.begin(), expected.argmax.end()));
  EXPECT_TRUE(same_bits(out[1], argmax));
  for (bool accumulate : {false, true}) {
    reference::Sums dx_expected(n * s * c);
    for (int64_t i = 0; i < n * c; ++i)
      dx_expected.add((i / c * s + expected.argmax[static_cast<size_t>(i)]) * c + i % c, dy[i]);
    if (accumulate) dx_expected += before.values();
    const auto dx = on_every_stream([&, n = n, s = s, c = c, dtype = dtype](TestStream& st) {
      Buffer d = accumulate ? Buffer(dtype, before.values()) : Buffer(dtype, n * s * c);
      kernels::global_max_backward(st, {.n = n,
                                        .s = s,
                                        .c = c,
                                        .dy = dy.read(),
                                        .argmax = argmax.read_as<int32_t>(),
                                        .dx = d.write(),
                                        .accumulate = accumulate});
      return list(std::move(d));
    });
    EXPECT_TRUE(close(dx[0], dx_expected, {.terms = 1}, {n, s, c})) << "accumulate " << accumulate;
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, GlobalPool, testing::ValuesIn(globals()),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace passnorm::test
