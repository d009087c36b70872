// The speed of inference: what the public branch costs, and what folding gains.
#pragma once

#include <string>
#include <vector>

#include "models/model.hpp"

namespace passnorm::bench {

struct InferenceBench {
  std::string model = "resnet18";
  std::string scheme = "pan";  ///< of the network with a passport
  std::string sites = "last";
  kernels::NormKind norm = kernels::NormKind::kBatch;
  int64_t batch = 64;
  DType precision = DType::kF32;  ///< storage of activations: kF32, kBF16 or kF16
  double seconds = 10;            ///< of measuring, for all networks together; at least 5 rounds
  int64_t rounds = 0;             ///< fixed; 0: as many as fit into `seconds`
};

/// One network's forward passes.
struct InferenceTimes {
  std::string name;             ///< plain | public | folded | passport
  std::vector<double> seconds;  ///< per round, in order
  double median = 0;
  double images_per_second = 0;  ///< batch / median
  double ratio = 1;              ///< speed over the plain network's: median over rounds
};

/// Forward passes in evaluation mode on random images, without gradients, of
///   plain     the network under scheme none
///   public    the public branch of the network with a passport; absent when the scheme has none
///   folded    batch norm only: the public branch with its norm folded into the convolutions
///   passport  the passport branch, the passport's scales read in every pass
/// interleaved: every round runs each network once. Error(kUsage) for unknown names.
std::vector<InferenceTimes> time_inference(const InferenceBench& options,
                                           std::shared_ptr<Stream> stream);

}  // namespace passnorm::bench
