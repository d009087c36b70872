#include "kernels/reduce.hpp"

#include <numeric>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduce.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

double sum_squares_of(const float* x, int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto v0 = hn::PromoteTo(d, hn::LoadU(half, x + i)),
               v1 = hn::PromoteTo(d, hn::LoadU(half, x + i + lanes));
    const auto v2 = hn::PromoteTo(d, hn::LoadU(half, x + i + 2 * lanes));
    const auto v3 = hn::PromoteTo(d, hn::LoadU(half, x + i + 3 * lanes));
    sum0 = hn::MulAdd(v0, v0, sum0);
    sum1 = hn::MulAdd(v1, v1, sum1);
    sum2 = hn::MulAdd(v2, v2, sum2);
    sum3 = hn::MulAdd(v3, v3, sum3);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

int64_t count_nonfinite_of(const float* x, int64_t n) {
  constexpr uint32_t kExponent = 0x7f800000u;
  int64_t count = 0;
  while (n > 0) {  // 32-bit counters, so that the loop has one vector width
    const int64_t step = std::min<int64_t>(n, 1 << 20);
    uint32_t found = 0;
    for (int64_t i = 0; i < step; ++i)
      found += (std::bit_cast<uint32_t>(x[i]) & kExponent) == kExponent;
    count += found;
    x += step;
    n -= step;
  }
  return count;
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(sum_squares_of);
HWY_EXPORT(count_nonfinite_of);

/// The sum of f(part of x) over parts whose sizes depend on x only.
template <class R, class F>
R sum_parts(CpuStream& stream, std::span<const float> x, F&& f) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<R> part(static_cast<size_t>(std::clamp<int64_t>(n >> 15, 1, 256)));
  parallel_ranges(stream, n, static_cast<int64_t>(part.size()),
                  [&](int64_t range, int64_t begin, int64_t end) {
                    part[static_cast<size_t>(range)] = f(x.data() + begin, end - begin);
                  });
  return std::accumulate(part.begin(), part.end(), R{0});
}

}  // namespace

double sum_squares(CpuStream& stream, std::span<const float> x) {
  return sum_parts<double>(stream, x, HWY_DYNAMIC_DISPATCH(sum_squares_of));
}

int64_t count_nonfinite(CpuStream& stream, std::span<const float> x) {
  return sum_parts<int64_t>(stream, x, HWY_DYNAMIC_DISPATCH(count_nonfinite_of));
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
