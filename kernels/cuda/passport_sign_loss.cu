#include "kernels/cuda/block.cuh"
#include "kernels/passport_common.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxSites = 32;

struct Site {
  const float* raw = nullptr;  // [C]
  const int8_t* bits = nullptr;
  float* draw = nullptr;  // [C] or null
  int64_t channels = 0;
};
struct Sites {
  Site site[kMaxSites];
};

/// A block per site.
__global__ void __launch_bounds__(kThreads)
    sign_loss_kernel(const Sites sites, float alpha, float margin, float decay, float weight,
                     const DeviceValue<float> loss_scale, float* loss, int32_t* matched) {
  const Site s = sites.site[blockIdx.x];
  weight *= loss_scale.get();
  float sums[3] = {};  // of the hinge, of squares, of matches (exact below 2^24)
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) {
    const float g = s.raw[c], bit = static_cast<float>(s.bits[c]), short_of = margin - bit * g;
    sums[0] += fmaxf(short_of, 0.0f);
    sums[1] += g * g;
    sums[2] += bit * g > 0 ? 1.0f : 0.0f;
    if (s.draw != nullptr)
      s.draw[c] += weight * ((short_of > 0 ? -alpha * bit : 0.0f) + 2 * decay * g);
  }
  __shared__ gpu::Shared<float, gpu::exchange_size(3, 1, kThreads)> exchange;
  gpu::merge_rows(sums, 1, kThreads, &exchange[0], gpu::AddFloats{});
  if (threadIdx.x != 0) return;
  loss[blockIdx.x] = alpha * sums[0] + decay * sums[1];
  matched[blockIdx.x] = static_cast<int32_t>(sums[2]);
}

}  // namespace

void sign_loss(CudaStream& stream, const SignLoss& a) {
  check(a);
  for (size_t begin = 0; begin < a.sites.size(); begin += kMaxSites) {
    const size_t count = std::min<size_t>(kMaxSites, a.sites.size() - begin);
    Sites sites;
    for (size_t i = 0; i < count; ++i) {
      const SignSite& s = a.sites[begin + i];
      sites.site[i] = {.raw = a.raw.data() + s.offset,
                       .bits = s.bits,
                       .draw = a.draw.empty() ? nullptr : a.draw.data() + s.offset,
                       .channels = s.channels};
    }
    gpu::launch(stream, sign_loss_kernel, dim3(static_cast<unsigned>(count)), dim3(kThreads), 0,
                sites, a.alpha, a.margin, a.decay, a.weight, a.loss_scale, a.loss.data() + begin,
                a.matched.data() + begin);
  }
}

}  // namespace passnorm::kernels
