#include "kernels/elementwise.hpp"

#include "bench/cases/norm.hpp"
#include "kernels/reduce.hpp"
#include "kernels/transform.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using reference::Sums;

class Elementwise : public testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Storage, Elementwise, testing::ValuesIn(kStorage),
                         testing::PrintToStringParamName());

TEST_P(Elementwise, Fill) {
  for (int64_t n : cases::lengths()) {
    const auto y = on_every_stream([&](TestStream& s) {
      Buffer out(dtype(), n);
      kernels::fill(s, {.y = out.write(), .value = 0.1f});
      return list(std::move(out));
    });
    const Buffer expected(dtype(), std::vector<double>(static_cast<size_t>(n), 0.1f));
    EXPECT_TRUE(same_bits(y[0], expected)) << "n " << n;
  }
}

TEST_P(Elementwise, CastRoundsToNearestEven) {
  for (DType to : kStorage)
    for (int64_t n : cases::lengths()) {
      SCOPED_TRACE(testing::Message() << "to " << name_of(to) << ", n " << n);
      const Buffer x(dtype(), uniform(n, 1, -300, 300));
      const auto y = on_every_stream([&](TestStream& s) {
        Buffer out(to, n);
        kernels::cast(s, {.x = x.read(), .y = out.write()});
        return list(std::move(out));
      });
      EXPECT_TRUE(same_bits(y[0], Buffer(to, x.values())));
    }
}

/// Ties, the largest numbers, overflow, subnormals, infinities and NaN, in every lane of a vector.
TEST_P(Elementwise, CastOfSpecialValues) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> special{0.0,
                                    -0.0,
                                    1 + 0x1p-8,
                                    1 + 3 * 0x1p-8,
                                    1 + 0x1p-11,
                                    1 + 3 * 0x1p-11,
                                    65504,
                                    65519.99,
                                    65520,
                                    0x1p-14,
                                    0x1p-24,
                                    0x1p-25,
                                    0x1p-25 + 0x1p-40,
                                    0x1.8p-24,
                                    0x1p-126,
                                    0x1p-133,
                                    0x1p-149,
                                    3.38e38,
                                    3.4028234e38,
                                    kInfinity,
                                    -kInfinity,
                                    std::nan("")};
  std::vector<double> many;
  for (size_t i = 0; i < 37; ++i) many.insert(many.end(), special.begin(), special.end());
  const Buffer x(dtype(), many);
  for (DType to : kStorage) {
    Buffer y(to, x.size());
    kernels::cast(stream(), {.x = x.read(), .y = y.write()});
    EXPECT_TRUE(equal(y, Buffer(to, x.values()).values())) << "to " << name_of(to);
  }
}

TEST_P(Elementwise, AddIdentity) {
  for (const int64_t size : {1, 2, 3, 31, 64})
    for (const int64_t n : {1, 3}) {
      const int64_t count = n * size * size;
      const Buffer x(dtype(), uniform(count, 1));
      const auto y = on_every_stream([&](TestStream& s) {
        Buffer out(dtype(), count);
        kernels::add_identity(s, {.size = size, .x = x.read(), .y = out.write()});
        return list(std::move(out));
      });
      std::vector<double> expected = x.values();
      for (int64_t matrix = 0; matrix < n; ++matrix)
        for (int64_t i = 0; i < size; ++i)
          expected[static_cast<size_t>((matrix * size + i) * size + i)] += 1;
      EXPECT_TRUE(same_bits(y[0], Buffer(dtype(), expected))) << n << " of size " << size;
    }
  const Buffer x(dtype(), uniform(7, 1));
  Buffer y(dtype(), 7);
  EXPECT_THROW(kernels::add_identity(stream(), {.size = 2, .x = x.read(), .y = y.write()}), Error);
}

TEST_P(Elementwise, AddTo) {
  for (float alpha : {1.0f, -0.37f})
    for (int64_t n : cases::lengths()) {
      const Buffer x(dtype(), uniform(n, 1)), before(dtype(), uniform(n, 2));
      Sums expected(n);
      for (int64_t i = 0; i < n; ++i) expected.add(i, static_cast<double>(alpha) * x[i]);
      expected += before.values();
      const auto y = on_every_stream([&](TestStream& s) {
        Buffer out(dtype(), before.values());
        kernels::add_to(s, {.x = x.read(), .y = out.write(), .alpha = alpha});
        return list(std::move(out));
      });
      EXPECT_TRUE(close(y[0], expected, {.terms = 2})) << "n " << n << ", alpha " << alpha;
    }
}

TEST_P(Elementwise, AddWithLanes) {
  for (int64_t n : cases::lengths())
    for (bool a_half : {false, true})
      for (bool b_half : {false, true})
        for (bool relu : {false, true}) {
          if (n % 2 && (a_half || b_half)) continue;
          SCOPED_TRACE(testing::Message()
                       << "n " << n << ", halves " << a_half << b_half << ", relu " << relu);
          const Buffer a(dtype(), uniform(a_half ? n / 2 : n, 1)),
              b(dtype(), uniform(b_half ? n / 2 : n, 2));
          Sums expected(n);
          for (int64_t i = 0; i < n; ++i) {
            const double u = a[i % a.size()], v = b[i % b.size()];
            expected.add(i, relu ? std::max(0.0, u + v) : u + v, std::abs(u) + std::abs(v));
          }
          const auto y = on_every_stream([&](TestStream& s) {
            Buffer out(dtype(), n);
            kernels::add(s, {.a = a.read(), .b = b.read(), .y = out.write(), .relu = relu});
            return list(std::move(out));
          });
          EXPECT_TRUE(close(y[0], expected, {.terms = 1}));
        }
}

TEST_P(Elementwise, ReluBackwardWithLanes) {
  for (int64_t n : cases::lengths())
    for (bool with_y : {false, true})
      for (bool half : {false, true})
        for (bool accumulate : {false, true}) {
          if (n % 2 && half) continue;
          SCOPED_TRACE(testing::Message() << "n " << n << ", y " << with_y << ", half " << half
                                          << ", accumulate " << accumulate);
          std::vector<double> result = uniform(n, 1);
          for (double& v : result) v = std::max(0.0, v);  // zeros as relu leaves them
          const Buffer y = with_y ? Buffer(dtype(), result) : Buffer(), dy(dtype(), uniform(n, 2));
          const int64_t size = half ? n / 2 : n;
          const Buffer before(dtype(), uniform(size, 3));
          Sums expected(size);
          for (int64_t i = 0; i < n; ++i) expected.add(i % size, !with_y || y[i] > 0 ? dy[i] : 0);
          if (accumulate) expected += before.values();
          const auto dx = on_every_stream([&](TestStream& s) {
            Buffer out = accumulate ? Buffer(dtype(), before.values()) : Buffer(dtype(), size);
            kernels::relu_backward(
                s, {.y = y.read(), .dy = dy.read(), .dx = out.write(), .accumulate = accumulate});
            return list(std::move(out));
          });
          EXPECT_TRUE(close(dx[0], expected, {.terms = 2}));
        }
}

/// Vectors and what is left behind them: arrays at whole lines, some elements shorter than a
/// multiple of every vector; what follows them stays.
TEST_P(Elementwise, ElementsBehindTheLastVector) {
  constexpr int64_t kRoom = 2048;
  for (int64_t n : {1, 7, 1021, 2043})
    for (DType to : kStorage) {
      SCOPED_TRACE(testing::Message() << "n " << n << " to " << name_of(to));
      const Buffer x(dtype(), uniform(kRoom, 1)), before(to, uniform(kRoom, 2));
      std::vector<double> expected = Buffer(to, x.values()).values();
      for (int64_t i = n; i < kRoom; ++i) expected[static_cast<size_t>(i)] = before[i];
      const auto y = on_every_stream([&](TestStream& s) {
        Buffer out(to, before.values());
        const View whole = out.write();
        kernels::cast(s, {.x = {x.read().data, dtype(), n}, .y = {whole.data, to, n}});
        return list(std::move(out));
      });
      EXPECT_TRUE(equal(y[0], expected));
    }
}

/// y may be one of the operands, dx may be dy.
TEST_P(Elementwise, InPlace) {
  const int64_t n = 4097 * 16;
  const Buffer a(dtype(), uniform(n, 1)), b(dtype(), uniform(n, 2));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer apart(dtype(), n), sum(dtype(), a.values()), through(dtype(), n),
        gradient(dtype(), b.values());
    kernels::add(s, {.a = a.read(), .b = b.read(), .y = apart.write(), .relu = true});
    kernels::add(s, {.a = sum.read(), .b = b.read(), .y = sum.write(), .relu = true});
    kernels::relu_backward(s, {.y = apart.read(), .dy = b.read(), .dx = through.write()});
    kernels::relu_backward(s, {.y = apart.read(), .dy = gradient.read(), .dx = gradient.write()});
    return list(std::move(apart), std::move(sum), std::move(through), std::move(gradient));
  });
  EXPECT_TRUE(same_bits(out[0], out[1]));
  EXPECT_TRUE(same_bits(out[2], out[3]));
}

/// relu lets NaN through, and so does its gradient.
TEST_P(Elementwise, NanStays) {
  std::vector<double> values = uniform(64, 1);
  for (size_t i = 0; i < values.size(); i += 3) values[i] = std::nan("");
  const Buffer a(dtype(), values), zero(dtype(), std::vector<double>(64)),
      dy(dtype(), uniform(64, 2));
  Buffer y(dtype(), 64), dx(dtype(), 64);
  kernels::add(stream(), {.a = a.read(), .b = zero.read(), .y = y.write(), .relu = true});
  kernels::relu_backward(stream(), {.y = y.read(), .dy = dy.read(), .dx = dx.write()});
  for (int64_t i = 0; i < 64; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i % 3 == 0) << i;
    if (i % 3 == 0) {
      EXPECT_EQ(dx[i], dy[i]) << i;
    }
  }
}

TEST(Reduce, SumSquares) {
  for (int64_t n : cases::lengths()) {
    const Buffer x(DType::kF32, uniform(n, 1, -10, 10));
    double expected = 0;
    for (double v : x.values()) expected += v * v;
    const double one = kernels::sum_squares(streams()[0], x.read_as<float>());
    for (TestStream& s : streams())
      EXPECT_EQ(kernels::sum_squares(s, x.read_as<float>()), one) << name_of(s);
    const Bound bound{.terms = static_cast<double>(n) + 1, .compute = DType::kF64};
    EXPECT_NEAR(one, expected, 2 * bound.tolerance(expected, expected, DType::kF64)) << "n " << n;
  }
  EXPECT_EQ(kernels::sum_squares(stream(), {}), 0);
}

/// 1e20 squared is beyond f32: the sum is in double from the first square on.
TEST(Reduce, SumSquaresBeyondFloat) {
  const Buffer x(DType::kF32, std::vector<double>(100, 0x1p66));
  EXPECT_EQ(kernels::sum_squares(stream(), x.read_as<float>()), 100 * 0x1p132);
}

TEST(Reduce, CountNonfinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (int64_t n : cases::lengths()) {
    std::vector<double> v = uniform(n, 1, -3e38, 3e38);
    const Buffer finite(DType::kF32, v);
    v.front() = std::nan("");
    v[v.size() / 2] = -kInfinity;
    v.back() = kInfinity;
    const Buffer x(DType::kF32, v);
    const auto expected =
        std::count_if(v.begin(), v.end(), [](double e) { return !std::isfinite(e); });
    for (TestStream& s : streams()) {
      EXPECT_EQ(kernels::count_nonfinite(s, finite.read_as<float>()), 0) << "n " << n;
      EXPECT_EQ(kernels::count_nonfinite(s, x.read_as<float>()), expected) << "n " << n;
    }
  }
  EXPECT_EQ(kernels::count_nonfinite(stream(), {}), 0);
}

struct Sizes {
  int64_t b, c, s;
};
void PrintTo(const Sizes& z, std::ostream* out) {
  *out << "b" << z.b << "_c" << z.c << "_s" << z.s;
}
class Transform : public testing::TestWithParam<Sizes> {};
TEST_P(Transform, ThereAndBack) {
  const auto [b, c, s] = GetParam();
  const Buffer x(DType::kF32, uniform(b * c * s, 1));
  std::vector<double> expected(static_cast<size_t>(b * c * s));
  for (int64_t i = 0; i < b; ++i)
    for (int64_t p = 0; p < s; ++p)
      for (int64_t k = 0; k < c; ++k)
        expected[static_cast<size_t>((i * s + p) * c + k)] = x[(i * c + k) * s + p];
  for (TestStream& st : streams()) {
    Buffer last(DType::kF32, x.size()), back(DType::kF32, x.size());
    kernels::to_channels_last(
        st, {.b = b, .c = c, .s = s, .x = x.read_as<float>(), .y = last.write_as<float>()});
    EXPECT_TRUE(equal(last, expected)) << name_of(st);
    kernels::to_channels_first(
        st, {.b = b, .c = c, .s = s, .x = last.read_as<float>(), .y = back.write_as<float>()});
    EXPECT_TRUE(same_bits(back, x)) << name_of(st);
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, Transform,
                         testing::Values(Sizes{1, 1, 1}, Sizes{3, 1, 31}, Sizes{2, 33, 1},
                                         Sizes{2, 31, 33}, Sizes{64, 3, 25}, Sizes{1, 130, 70},
                                         Sizes{5, 64, 49}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace passnorm::test
