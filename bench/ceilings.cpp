#include "bench/ceilings.hpp"

#include <bit>
#include <cstring>

#include "bench/timing.hpp"
#include "engine/io/text.hpp"
#include "engine/tensor/tensor.hpp"
#include "kernels/runtime/parallel.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace passnorm::bench {
namespace {

constexpr int kRounds = 9;

/// Work per second: the best round.
template <class F>
double best_rate(double work, F&& f) {
  f();
  double best = 0;
  for (int i = 0; i < kRounds; ++i) best = std::max(best, work / seconds_of(f));
  return best;
}

/// A loop of multiply-adds on registers, enough of them in flight to hide the latency; returns a
/// result so that it is computed.
struct RegisterLoop {
  float (*run)(int64_t rounds);
  double flops;  ///< of a round
};

#if defined(__x86_64__)
constexpr int kInFlight = 16;

__attribute__((target("avx512f"))) float f32_avx512(int64_t rounds) {
  __m512 acc[kInFlight];
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
#pragma GCC unroll 16
  for (int k = 0; k < kInFlight; ++k) acc[k] = _mm512_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 16
    for (int k = 0; k < kInFlight; ++k) acc[k] = _mm512_fmadd_ps(acc[k], a, b);
  __m512 sum = acc[0];
#pragma GCC unroll 16
  for (int k = 1; k < kInFlight; ++k) sum = _mm512_add_ps(sum, acc[k]);
  return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx512f,avx512bf16"))) float bf16_avx512(int64_t rounds) {
  __m512 acc[kInFlight];
  const auto a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
#pragma GCC unroll 16
  for (int k = 0; k < kInFlight; ++k) acc[k] = _mm512_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 16
    for (int k = 0; k < kInFlight; ++k) acc[k] = _mm512_dpbf16_ps(acc[k], a, a);
  __m512 sum = acc[0];
#pragma GCC unroll 16
  for (int k = 1; k < kInFlight; ++k) sum = _mm512_add_ps(sum, acc[k]);
  return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) float f32_avx2(int64_t rounds) {
  constexpr int kHalf = 12;  // of 16 registers
  __m256 acc[kHalf];
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
#pragma GCC unroll 12
  for (int k = 0; k < kHalf; ++k) acc[k] = _mm256_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < kHalf; ++k) acc[k] = _mm256_fmadd_ps(acc[k], a, b);
  __m256 sum = acc[0];
#pragma GCC unroll 12
  for (int k = 1; k < kHalf; ++k) sum = _mm256_add_ps(sum, acc[k]);
  return _mm256_cvtss_f32(sum);
}

RegisterLoop register_loop(DType dtype) {
  if (dtype == DType::kBF16 && __builtin_cpu_supports("avx512bf16"))
    return {bf16_avx512, 2.0 * 32 * kInFlight};
  if (__builtin_cpu_supports("avx512f")) return {f32_avx512, 2.0 * 16 * kInFlight};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {f32_avx2, 2.0 * 8 * 12};
  return {nullptr, 0};
}
#else
RegisterLoop register_loop(DType) { return {nullptr, 0}; }
#endif

/// Of both buffers together.
size_t copy_footprint(double bytes) {
  constexpr double kLeast = 1 << 16;
  return std::bit_ceil(static_cast<size_t>(std::max(bytes, kLeast)));
}

}  // namespace

std::string Ceilings::copy_name(double bytes) {
  const size_t footprint = copy_footprint(bytes);
  constexpr size_t kKiB = 1 << 10, kMiB = 1 << 20;
  return footprint >= kMiB ? concat("copy ", footprint / kMiB, " MiB")
                           : concat("copy ", footprint / kKiB, " KiB");
}

double Ceilings::copy(double bytes) {
  double& rate = measured_[copy_name(bytes)];
  if (rate > 0) return rate;
  const size_t half = copy_footprint(bytes) / 2;
  const auto n = static_cast<int64_t>(half);
  const Tensor from = Tensor::zeros(stream_, {n}, DType::kU8),
               to = Tensor::zeros(stream_, {n}, DType::kU8);
  const auto source = from.span<uint8_t>();
  const auto target = to.span<uint8_t>();
  // Enough passes that a round takes a millisecond and more.
  const int64_t passes = std::max<int64_t>(1, (int64_t{64} << 20) / n);
  return rate = best_rate(2.0 * static_cast<double>(n * passes), [&] {
           parallel_for(stream_, n, 4096, [&](int64_t begin, int64_t end) {
             for (int64_t i = 0; i < passes; ++i)
               std::memcpy(target.data() + begin, source.data() + begin,
                           static_cast<size_t>(end - begin));
           });
         });
}

double Ceilings::multiply_add(DType dtype) {
  double& rate = measured_[concat("multiply-add ", name_of(dtype))];
  const RegisterLoop loop = register_loop(dtype);
  if (rate > 0 || !loop.run) return rate;
  constexpr int64_t kLoops = 500'000;
  const int64_t threads = stream_.threads();
  std::vector<float> results(static_cast<size_t>(threads));
  rate = best_rate(loop.flops * static_cast<double>(kLoops * threads), [&] {
    parallel_for(stream_, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) results[static_cast<size_t>(t)] = loop.run(kLoops);
    });
  });
  volatile float sink = results.front();
  static_cast<void>(sink);
  return rate;
}

}  // namespace passnorm::bench
