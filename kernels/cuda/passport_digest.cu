#include "kernels/cuda/gpu.cuh"
#include "kernels/passport_common.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

/// A sum in two floats, so that the digest of a large key is as exact as on the CPU (Knuth's
/// two-sum).
struct TwoFloat {
  float high, low;

  __device__ void add(float x) {
    const float sum = high + x, part = sum - high;
    low += (high - (sum - part)) + (x - part);
    high = sum;
  }
};

// A block has kChannels channels of one tap; each of its kParts warps sums a part of the positions.
constexpr int kChannels = 32, kParts = 8;

__global__ void __launch_bounds__(kChannels* kParts)
    passport_digest_kernel(const ConvGeometry g, int64_t oh, int64_t ow, const float* key,
                           float* digest) {
  const int lane = static_cast<int>(threadIdx.x) % kChannels;
  const int part = static_cast<int>(threadIdx.x) / kChannels;
  const int64_t c = int64_t{blockIdx.x} * kChannels + lane, tap = blockIdx.y;
  TwoFloat sum{};
  for (int64_t i = part; i < oh * ow && c < g.c; i += kParts) {
    const int64_t h = i / ow * g.stride + tap / g.kw - g.pad,
                  w = i % ow * g.stride + tap % g.kw - g.pad;
    if (h >= 0 && h < g.h && w >= 0 && w < g.w) sum.add(key[(h * g.w + w) * g.c + c]);
  }
  __shared__ Shared<TwoFloat, kChannels * kParts> parts;
  parts[static_cast<int>(threadIdx.x)] = sum;
  __syncthreads();
  if (part != 0 || c >= g.c) return;
  for (int k = 1; k < kParts; ++k) {
    const TwoFloat other = parts[k * kChannels + lane];
    sum.add(other.high);
    sum.low += other.low;
  }
  digest[tap * g.c + c] = (sum.high + sum.low) / static_cast<float>(oh * ow);
}

constexpr int kThreads = 256;

/// Whether tap k of some output position below `outputs` falls on this position of the key.
__device__ bool reaches(int64_t position, int64_t k, int64_t pad, int64_t stride, int64_t outputs) {
  const int64_t from = position + pad - k;
  return from >= 0 && from % stride == 0 && from / stride < outputs;
}

__global__ void __launch_bounds__(kThreads)
    passport_digest_backward_kernel(const ConvGeometry g, int64_t oh, int64_t ow,
                                    const float* ddigest, float* dkey) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= g.h * g.w * g.c) return;
  const int64_t c = i % g.c, position = i / g.c, h = position / g.w, w = position % g.w;
  float sum = 0;
  for (int64_t kh = 0; kh < g.kh; ++kh) {
    if (!reaches(h, kh, g.pad, g.stride, oh)) continue;
    for (int64_t kw = 0; kw < g.kw; ++kw)
      if (reaches(w, kw, g.pad, g.stride, ow)) sum += ddigest[(kh * g.kw + kw) * g.c + c];
  }
  dkey[i] = sum / static_cast<float>(oh * ow);
}

}  // namespace

void passport_digest(CudaStream& stream, const PassportDigest& a) {
  const ConvGeometry& g = a.geometry;
  check_digest(g, a.key.size(), a.digest.size());
  const dim3 grid(static_cast<unsigned>(gpu::ceil_div(g.c, kChannels)),
                  static_cast<unsigned>(g.kh * g.kw));
  gpu::launch(stream, passport_digest_kernel, grid, dim3(kChannels * kParts), 0, g, g.oh(), g.ow(),
              a.key.data(), a.digest.data());
}

void passport_digest_backward(CudaStream& stream, const PassportDigestBackward& a) {
  const ConvGeometry& g = a.geometry;
  check_digest(g, a.dkey.size(), a.ddigest.size());
  gpu::launch(stream, passport_digest_backward_kernel,
              dim3(static_cast<unsigned>(gpu::ceil_div(g.x_size(), kThreads))), dim3(kThreads), 0,
              g, g.oh(), g.ow(), a.ddigest.data(), a.dkey.data());
}

}  // namespace passnorm::kernels
