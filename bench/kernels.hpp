// The speed of single kernels, next to the ceiling of the machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

struct KernelBench {
  std::string filter = "";  ///< a regular expression found in the name; empty: all
  int64_t samples = 64;     ///< N of the networks' layers
  double seconds = 0.2;     ///< of each timed repetition
  int repetitions = 5;
};

struct KernelTime {
  std::string name;   ///< family/kernel/case/type, e.g. norm/backward/resnet_layer1/f32
  double median = 0;  ///< seconds of a call, over the repetitions
  double least = 0, most = 0;
  double flops = 0;     ///< arithmetic of a call, or 0 where bytes are what counts
  double bytes = 0;     ///< least traffic of a call: each operand once
  double moved = 0;     ///< traffic of all passes over the operands, where more than one is made
  std::string ceiling;  ///< of what `share` is a share; see Ceilings::measured
  double share = 0;     ///< rate over ceiling; 0: unknown. Winograd convolution exceeds 1.
  double launches = 0;  ///< kernels and copies of a call on a GPU; 0: unknown
  std::string skipped;  ///< why it was not run, or empty
};

struct KernelReport {
  std::vector<KernelTime> kernels;
  std::map<std::string, double> ceilings;  ///< bytes/s and FLOP/s
};

/// Every kernel family on the shapes of bench/cases. On a GPU the device's time, over as many sets
/// of operands as sets_beyond_cache() says; calls are replayed from a graph.
/// Error(kUsage) for a filter that is no regular expression or finds nothing.
KernelReport time_kernels(Stream& stream, const KernelBench& options);

/// The names, without running them.
std::vector<std::string> kernel_names(Device device, const KernelBench& options = {});

}  // namespace passnorm::bench
