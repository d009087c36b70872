// Accuracy of both branches on a data set.
#pragma once

#include <optional>

#include "models/model.hpp"
#include "train/batch.hpp"

namespace passnorm::train {

struct Evaluation {
  int64_t images = 0;  ///< or clouds
  std::optional<double>
      public_accuracy;  ///< fractions; none where the branch does not exist or did not run
  std::optional<double> passport_accuracy;
  std::optional<double> public_loss;  ///< cross-entropy
  std::optional<double> passport_loss;
  /// Mean over the classes that have images of the share of theirs that is right.
  std::optional<double> public_class_accuracy = {};
  std::optional<double> passport_class_accuracy = {};
};

struct EvaluateOptions {
  int64_t batch = 256;
  int64_t limit = 0;  ///< the first images only; 0 = all
  std::optional<Lanes> lanes =
      {};  ///< default: every branch that exists, the passport's only with a passport
  DType precision = DType::kF32;  ///< storage of activations: kF32, kBF16 or kF16
};

/// In evaluation mode, both branches in one forward.
Evaluation evaluate(Model& model, const OpenPassport* passport, const Dataset& data,
                    const EvaluateOptions& options = {});
/// The same on images that are on the device already and fit the model.
Evaluation evaluate(Model& model, const OpenPassport* passport, const DeviceDataset& images,
                    const EvaluateOptions& options = {});

}  // namespace passnorm::train
