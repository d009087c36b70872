#include "bench/ceilings.hpp"

#include <bit>
#include <cstring>

#include "bench/catalogue.hpp"
#include "bench/device_timing.hpp"
#include "bench/timing.hpp"
#include "engine/io/text.hpp"
#include "engine/tensor/tensor.hpp"
#include "kernels/convolution.hpp"
#include "kernels/gemm.hpp"
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

double copy_rate(CpuStream& stream, size_t footprint) {
  const auto n = static_cast<int64_t>(footprint / 2);
  const Tensor from = Tensor::zeros(stream, {n}, DType::kU8),
               to = Tensor::zeros(stream, {n}, DType::kU8);
  const auto source = from.span<uint8_t>();
  const auto target = to.span<uint8_t>();
  // Enough passes that a round takes a millisecond and more.
  const int64_t passes = std::max<int64_t>(1, (int64_t{64} << 20) / n);
  return best_rate(2.0 * static_cast<double>(n * passes), [&] {
    parallel_for(stream, n, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < passes; ++i)
        std::memcpy(target.data() + begin, source.data() + begin, static_cast<size_t>(end - begin));
    });
  });
}

std::string arithmetic_name_on(const CpuStream&, DType dtype) {
  return concat("multiply-add ", name_of(dtype));
}

double arithmetic_rate(CpuStream& stream, DType dtype) {
  const RegisterLoop loop = register_loop(dtype);
  if (!loop.run) return 0;
  constexpr int64_t kLoops = 500'000;
  const int64_t threads = stream.threads();
  std::vector<float> results(static_cast<size_t>(threads));
  const double rate = best_rate(loop.flops * static_cast<double>(kLoops * threads), [&] {
    parallel_for(stream, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) results[static_cast<size_t>(t)] = loop.run(kLoops);
    });
  });
  volatile float sink = results.front();
  static_cast<void>(sink);
  return rate;
}

#if PASSNORM_WITH_CUDA
constexpr double kSeconds = 0.02;  // of each round

double best_device_rate(CudaStream& stream, double work, const std::function<void()>& f) {
  return work / std::ranges::min(time_on_device(stream, f, kSeconds, kRounds).seconds);
}

double copy_rate(CudaStream& stream, size_t footprint) {
  const size_t half = footprint / 2;
  const int64_t sets = sets_beyond_cache(stream, static_cast<double>(footprint));
  const Tensor from = operand(stream, sets * static_cast<int64_t>(half / sizeof(float))),
               to = result(stream, from.size());
  return best_device_rate(stream, static_cast<double>(footprint) * static_cast<double>(sets), [&] {
    for (int64_t i = 0; i < sets; ++i) {
      const auto at = static_cast<size_t>(i) * half / sizeof(float);
      stream.copy_on_device(to.span().data() + at, from.span().data() + at, half);
    }
  });
}

/// A product that fills the GPU; the emulator, which has a few multiprocessors, is not asked for
/// more than it can do in a moment.
int64_t matmul_side(const CudaStream& stream) { return stream.multiprocessors() < 16 ? 128 : 8192; }

std::string arithmetic_name_on(const CudaStream& stream, DType dtype) {
  return concat("matmul ", name_of(dtype), " ", matmul_side(stream));
}

/// f32 by the matrix product's contract, 16-bit types, which that does not take, as a linear layer:
/// both end in cuBLASLt.
double arithmetic_rate(CudaStream& stream, DType dtype) {
  const int64_t n = matmul_side(stream);
  const kernels::ConvGeometry g{.n = n, .c = n, .o = n};
  const Tensor a = operand(stream, n * n, dtype), b = operand(stream, n * n, dtype),
               y = result(stream, n * n, dtype);
  const Tensor w = dtype == DType::kF32 ? b : operand(stream, n * n);
  try {
    return best_device_rate(stream, g.flops(), [&] {
      if (dtype == DType::kF32)
        kernels::gemm(stream,
                      {.m = n, .n = n, .k = n, .a = a.view(), .b = b.view(), .y = y.view()});
      else
        kernels::conv_forward(
            stream,
            {.geometry = g, .x = a.view(), .w = w.view(), .w_copy = b.view(), .y = y.view()});
    });
  } catch (const Error& e) {
    if (e.fault() != Fault::kMachine) throw;
    return 0;
  }
}
#endif

}  // namespace

std::string Ceilings::copy_name(double bytes) {
  const size_t footprint = copy_footprint(bytes);
  constexpr size_t kKiB = 1 << 10, kMiB = 1 << 20;
  return footprint >= kMiB ? concat("copy ", footprint / kMiB, " MiB")
                           : concat("copy ", footprint / kKiB, " KiB");
}

double Ceilings::copy(double bytes) {
  double& rate = measured_[copy_name(bytes)];
  if (rate == 0)
    dispatch(stream_, [&](auto& stream) { rate = copy_rate(stream, copy_footprint(bytes)); });
  return rate;
}

std::string Ceilings::arithmetic_name(DType dtype) const {
  return dispatch(stream_, [&](auto& stream) { return arithmetic_name_on(stream, dtype); });
}

double Ceilings::arithmetic(DType dtype) {
  double& rate = measured_[arithmetic_name(dtype)];
  if (rate == 0) dispatch(stream_, [&](auto& stream) { rate = arithmetic_rate(stream, dtype); });
  return rate;
}

std::map<std::string, double> measure_ceilings(Stream& stream) {
  const bool on_gpu = stream.device().kind == Device::Kind::kCuda;
  Ceilings ceilings(stream);
  constexpr double kLeast = 1 << 18;  // 256 KiB
  const double most = on_gpu ? 0x1p30 : 0x1p28;
  for (double bytes = kLeast; bytes <= most; bytes *= 4) ceilings.copy(bytes);
  ceilings.arithmetic(DType::kF32);
  ceilings.arithmetic(DType::kBF16);
  if (on_gpu) ceilings.arithmetic(DType::kF16);
  std::map<std::string, double> measured = ceilings.measured();
  std::erase_if(measured, [](const auto& ceiling) { return ceiling.second == 0; });  // unknown here
  return measured;
}

}  // namespace passnorm::bench
