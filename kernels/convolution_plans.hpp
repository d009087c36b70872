// What cuDNN would do on a GPU that need not be here (native CUDA builds only).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/convolution.hpp"
#include "kernels/runtime/dtype.hpp"

namespace passnorm::kernels {

/// The first engine that could be chosen for one convolution.
struct PlanReport {
  std::string operation;  ///< "forward", "forward, sums", "backward-data", ...
  ConvGeometry geometry;  ///< channels padded, as it would be computed
  DType type;             ///< of the operands
  DType result;           ///< of y, dx or dw
  int offered = 0;        ///< engines that the heuristics name
  std::string engine;     ///< the first that is deterministic, in f32 exact, and can be built
  bool tensor_cores = false;
  int64_t workspace = 0;  ///< its, in bytes
  std::string why_none;   ///< where there is no such engine
};

/// Every operation of every geometry on the GPU of `properties`, cuDNN's own JSON
/// (scripts/gpu_suite keeps it of every GPU it runs on); needs cuDNN's libraries, no GPU.
/// Error(kInput) when cuDNN does not take the properties.
std::vector<PlanReport> check_plans(const std::string& properties,
                                    std::span<const ConvGeometry> geometries, DType type);

}  // namespace passnorm::kernels
