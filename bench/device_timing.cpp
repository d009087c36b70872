#include "bench/device_timing.hpp"

#include <algorithm>

#include "kernels/runtime/graph.hpp"
#include "kernels/runtime/pinned.hpp"

namespace passnorm::bench {

DeviceTimes time_on_device(Stream& stream, const std::function<void()>& work, double seconds,
                           int repetitions, bool recordable) {
  CapturedWork captured;
  const auto run = [&] {
    if (recordable)
      captured.run(stream, work);
    else
      work();
  };
  // Memory and plans settle in the first runs, then the work is recorded.
  constexpr int kWarmup = 5;
  for (int i = 0; i < kWarmup; ++i) run();
  Event from(stream), to(stream);
  const auto seconds_each = [&](int64_t runs) {
    from.record();
    for (int64_t i = 0; i < runs; ++i) run();
    to.record();
    to.wait();
    return 1e-3 * Event::milliseconds(from, to) / static_cast<double>(runs);
  };
  constexpr double kMost = 1e6;
  const double once = std::max(seconds_each(1), 1e-9);
  const auto runs = static_cast<int64_t>(std::clamp(seconds / once, 1.0, kMost));
  DeviceTimes times;
  for (int i = 0; i < repetitions; ++i) times.seconds.push_back(seconds_each(runs));
  times.launches = captured.nodes();
  return times;
}

int64_t sets_beyond_cache([[maybe_unused]] Stream& stream, [[maybe_unused]] double bytes) {
  constexpr double kMost = 64;
  double sets = 1;
#if PASSNORM_WITH_CUDA
  if (stream.device().kind == Device::Kind::kCuda)
    sets += 2 * static_cast<double>(static_cast<CudaStream&>(stream).l2_bytes()) / bytes;
#endif
  return static_cast<int64_t>(std::min(sets, kMost));
}

}  // namespace passnorm::bench
