// From stored point clouds to a training batch: pick, drop points, scale, shift, in one pass.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y[i][p] = scale * point + shift, where point is cloud[index[i]][p], or point 0 of the cloud when
/// p is dropped. Per cloud: scale uniform in [scale_low, scale_high), shift of each axis uniform in
/// [-shift, shift), r uniform in [0, max_dropout); point p is dropped when its own uniform number
/// is at most r. Cloud i uses random numbers `index[i]` of (seed, kAugment, epoch). The same bits
/// on every device. An index outside the clouds: Error(kBug) on a CPU; on a GPU, whose indices the
/// host cannot see, the cloud is NaN and its label -1.
struct AugmentPoints {
  int64_t n = 0, points = 0;       ///< N clouds of L points, L at most 2^20
  std::span<const float> clouds;   ///< [clouds, L, 3]
  std::span<const int64_t> index;  ///< [N]: which clouds
  float max_dropout = 0;           ///< 0: no point is dropped (PointNet trains with 0.875)
  float scale_low = 1;             ///< (0.8)
  float scale_high = 1;            ///< (1.25)
  float shift = 0;                 ///< (0.1)
  uint64_t seed = 0;
  DeviceValue<uint32_t> epoch = 0u;
  View y;                              ///< [N, L, 3] f32 | bf16 | f16
  std::span<const int32_t> labels{};   ///< [clouds], or empty
  std::span<int32_t> picked_labels{};  ///< [N]: labels[index[i]]; empty with labels
};
void augment_points(CpuStream& stream, const AugmentPoints& a);
void augment_points(CudaStream& stream, const AugmentPoints& a);

}  // namespace passnorm::kernels
