// The contracts of kernels/convolution.hpp in emulated builds.
#include "kernels/convolution.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/emulator/queue.hpp"
#include "tests/emulator/vendor.hpp"

namespace passnorm::kernels {
namespace {

using emulator::queue_of;

/// Rows that a convolution's tile has; the sums of tiles are added up.
constexpr int64_t kTileRows = 64;

/// As an epilogue would take them: in f32, tile by tile.
void sum_channels(const ConstView& y, std::span<float> sums) {
  const auto channels = static_cast<int64_t>(sums.size()) / 2, rows = y.size / channels;
  std::fill(sums.begin(), sums.end(), 0.0f);
  visit_storage(y.dtype, [&](auto zero) {
    const auto* const p = y.as<decltype(zero)>();
    std::vector<float> tile(sums.size());
    for (int64_t first = 0; first < rows; first += kTileRows) {
      std::fill(tile.begin(), tile.end(), 0.0f);
      for (int64_t r = first; r < std::min(rows, first + kTileRows); ++r)
        for (int64_t c = 0; c < channels; ++c) {
          const auto value = static_cast<float>(p[r * channels + c]);
          tile[static_cast<size_t>(c)] += value;
          tile[static_cast<size_t>(channels + c)] += value * value;
        }
      for (size_t i = 0; i < tile.size(); ++i) sums[i] += tile[i];
    }
  });
}

bool offers(const char* operation) { return !emulator::not_offered().contains(operation); }

void require(const ConvGeometry& g, const char* operation) {
  const char* const asked = g.h * g.w * g.kh * g.kw == 1 ? "product" : operation;
  if (!offers(asked)) fail(Fault::kMachine, asked, ": the emulated library offers no engine");
}

}  // namespace

bool convolves(CudaStream& stream, DType dtype) { return convolves(stream.vendor().cpu(), dtype); }
bool conv_may_sum(CudaStream& stream, DType dtype) {
  return stream.epilogue_statistics() && dtype != DType::kF32;
}
/// Every convolution has sums, also that in f32 which stands behind a 16-bit one.
bool conv_forward(CudaStream& stream, const ConvForward& a) {
  require(a.geometry, "forward");
  const bool sums = !a.sums.empty() && offers("forward, sums");
  if (sums != !a.sums.empty() && !std::exchange(stream.vendor().told_of_sums, true))
    stream.notes().push_back("forward, sums: the emulated library offers no engine");
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a, sums] {
    conv_forward(cpu, a);
    if (sums) sum_channels(a.y, a.sums);
  });
  return sums;
}
void conv_backward_data(CudaStream& stream, const ConvBackwardData& a) {
  require(a.geometry, "backward-data");
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a] { conv_backward_data(cpu, a); });
}
void conv_backward_weight(CudaStream& stream, const ConvBackwardWeight& a) {
  require(a.geometry, "backward-weight");
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a] {
    conv_backward_weight(cpu, a);
  });
}

}  // namespace passnorm::kernels
