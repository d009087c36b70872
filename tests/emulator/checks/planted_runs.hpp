// Launches of the planted kernels: true when the answer is right.
#pragma once

#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/emulator/checks/planted.cuh"

namespace passnorm::planted {

inline std::vector<float> numbers(int n) {
  std::vector<float> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}
constexpr int kBlocks = 6;

template <Bug kBug>
bool tree_sum(CudaStream& stream) {
  const std::vector<float> x = numbers(2 * kThreads);
  std::vector<float> y(2);
  gpu::launch(stream, tree_sum_kernel<kBug>, 2, kThreads, kThreads * sizeof(float), x.data(),
              y.data());
  stream.synchronize();
  return y == std::vector<float>{128 * 129 / 2, 128 * 128 + 128 * 129 / 2};
}
template <Bug kBug>
bool mirror(CudaStream& stream) {
  const std::vector<float> x = numbers(kThreads);
  std::vector<float> y(kThreads), expected;
  for (int t = 0; t < kThreads; ++t)
    expected.push_back(2 * x[static_cast<size_t>(kThreads - 1 - (t + 1) % kThreads)]);
  gpu::launch(stream, mirror_kernel<kBug>, 1, kThreads, 0, x.data(), y.data());
  stream.synchronize();
  return y == expected;
}
template <Bug kBug>
bool rotate(CudaStream& stream) {
  const std::vector<float> x = numbers(kThreads);
  std::vector<float> y(kThreads), expected;
  for (int t = 0; t < kThreads; ++t)
    expected.push_back(x[static_cast<size_t>(t / 32 * 32 + (t + 1) % 32)]);
  gpu::launch(stream, rotate_kernel<kBug>, 1, kThreads, 0, x.data(), y.data());
  stream.synchronize();
  return y == expected;
}
template <Bug kBug>
bool ticket_sum(CudaStream& stream) {
  const std::vector<float> x = numbers(kBlocks * kThreads);
  std::vector<float> partial(kBlocks), y(1);
  gpu::launch(stream, ticket_sum_kernel<kBug>, kBlocks, kThreads, 0, x.data(), partial.data(),
              stream.tickets(), y.data());
  stream.synchronize();
  const bool clean = stream.tickets()[0] == 0;
  stream.fill_bytes(stream.tickets(), 0, sizeof(unsigned));  // for the next
  return clean && y[0] == 768 * 769 / 2;
}
template <Bug kBug>
bool grid_sum(CudaStream& stream) {
  const std::vector<float> x = numbers(kBlocks * kThreads);
  std::vector<float> partial(kBlocks), y(x.size()), expected = x;
  for (float& v : expected) v += 768 * 769 / 2;
  gpu::launch_on_chip(stream, grid_sum_kernel<kBug>, kBlocks, kThreads, 0, true, x.data(),
                      partial.data(), y.data());
  stream.synchronize();
  return y == expected;
}
template <Bug kBug>
bool count(CudaStream& stream) {
  unsigned total = 0;
  gpu::launch(stream, count_kernel<kBug>, kBlocks, kThreads, 0, &total);
  stream.synchronize();
  return total == kBlocks * kThreads;
}
template <Bug kBug>
bool doubled(CudaStream& stream) {
  const std::vector<float> x = numbers(kBlocks * kThreads);
  std::vector<float> y(x.size()), expected = x;
  for (float& v : expected) v *= 2;
  gpu::launch(stream, double_kernel<kBug>, kBlocks, kThreads, 0, x.data(), y.data(),
              kBlocks * kThreads);
  stream.synchronize();
  return y == expected;
}
/// Right also where it is misaligned, on a CPU that allows it.
template <Bug kBug>
bool copy(CudaStream& stream) {
  alignas(16) float x[4 * kThreads + 4]{}, y[4 * kThreads];
  std::iota(x, x + 4 * kThreads + 4, 0.0f);
  gpu::launch(stream, copy_kernel<kBug>, 1, kThreads, 0, static_cast<const float*>(x),
              static_cast<float*>(y));
  stream.synchronize();
  return std::memcmp(x + (kBug == Bug::kMisaligned ? 1 : 0), y, sizeof y) == 0;
}
/// Into memory of the stream's pool.
template <Bug kBug>
bool ones(CudaStream& stream) {
  constexpr int kSize = 3 * kThreads - 64;  // a size class: the guard is next
  constexpr size_t kBytes = kSize * sizeof(float);
  auto* y = static_cast<float*>(stream.memory()->allocate(kBytes));
  stream.fill_bytes(y, 0xFF, kBytes);
  gpu::launch(stream, ones_kernel<kBug>, kBug == Bug::kGridTooSmall ? 2 : 3, kThreads, 0, y, kSize);
  const auto free = [&] { stream.memory()->release(y, kBytes); };
  try {
    stream.synchronize();
  } catch (...) {
    free();
    throw;
  }
  const bool right = std::vector<float>(y, y + kSize) == std::vector<float>(kSize, 1.0f);
  free();
  return right;
}
template <Bug kBug>
bool shared_overrun(CudaStream& stream) {
  std::vector<float> y(kThreads);
  gpu::launch(stream, shared_overrun_kernel<kBug>, 1, kThreads, kThreads * sizeof(float), y.data());
  stream.synchronize();
  return y == std::vector<float>(kThreads, 3.0f);
}

/// All of them by name, for the programs that a sanitizer watches.
inline const std::map<std::string, bool (*)(CudaStream&)>& runs() {
  static const std::map<std::string, bool (*)(CudaStream&)> all{
      {"tree_sum", tree_sum<Bug::kNone>},
      {"tree_sum.no_barrier_after_store", tree_sum<Bug::kNoBarrierAfterStore>},
      {"tree_sum.no_barrier_between_levels", tree_sum<Bug::kNoBarrierBetweenLevels>},
      {"mirror", mirror<Bug::kNone>},
      {"mirror.no_barrier_before_overwrite", mirror<Bug::kNoBarrierBeforeOverwrite>},
      {"rotate", rotate<Bug::kNone>},
      {"rotate.no_syncwarp", rotate<Bug::kNoSyncwarp>},
      {"ticket_sum", ticket_sum<Bug::kNone>},
      {"ticket_sum.no_fence", ticket_sum<Bug::kNoFence>},
      {"ticket_sum.block_fence", ticket_sum<Bug::kBlockFence>},
      {"ticket_sum.no_barrier_before_last", ticket_sum<Bug::kNoBarrierBeforeLast>},
      {"grid_sum", grid_sum<Bug::kNone>},
      {"grid_sum.no_grid_barrier", grid_sum<Bug::kNoGridBarrier>},
      {"count", count<Bug::kNone>},
      {"count.not_atomic", count<Bug::kNotAtomic>},
      {"double", doubled<Bug::kNone>},
      {"double.overlap", doubled<Bug::kOverlap>},
      {"copy", copy<Bug::kNone>},
      {"copy.misaligned", copy<Bug::kMisaligned>},
      {"ones", ones<Bug::kNone>},
      {"ones.grid_too_small", ones<Bug::kGridTooSmall>},
      {"ones.global", ones<Bug::kGlobal>},
      {"shared_overrun", shared_overrun<Bug::kNone>},
      {"shared_overrun.dynamic", shared_overrun<Bug::kDynamicShared>},
      {"shared_overrun.index", shared_overrun<Bug::kSharedIndex>},
  };
  return all;
}

}  // namespace passnorm::planted
