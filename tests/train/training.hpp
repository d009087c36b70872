// What tests of the training loop share: a network, its passport, and all that a run tells.
#pragma once

#include <functional>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/trainer.hpp"

namespace passnorm::train {

struct Training {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  std::vector<Progress> progress;
  std::vector<EpochReport> epochs;
  std::vector<std::string> notes;
  std::function<bool()> stop;

  explicit Training(const char* scheme, kernels::NormKind norm = kernels::NormKind::kBatch,
                    std::shared_ptr<Stream> stream = test::network_stream())
      : Training("tiny", {.norm = norm, .plan = PassportPlan::of(scheme), .seed = 1},
                 std::move(stream)) {}
  Training(const char* architecture, const ModelOptions& options, std::shared_ptr<Stream> stream)
      : model(models::make(architecture, options, std::move(stream))) {
    if (!model->sites().empty())
      passport = Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
  }

  /// PointNet for the classes of synthetic3d.
  static Training of_clouds(const char* scheme, int64_t points = 16) {
    return Training("pointnet",
                    {.classes = 8, .plan = PassportPlan::of(scheme), .points = points, .seed = 1},
                    test::network_stream());
  }

  EpochReport fit(const FitData& data, const FitOptions& options) {
    return train::fit(*model, passport ? &*passport : nullptr, data, options,
                      {.progress = [&](const Progress& p) { progress.push_back(p); },
                       .epoch = [&](const EpochReport& e) { epochs.push_back(e); },
                       .stop = stop,
                       .note = [&](const std::string& line) { notes.push_back(line); }});
  }
  std::vector<float> weights() const {
    return model->parameters().weights().to_host(model->stream());
  }
  std::vector<float> buffers() const {
    return model->parameters().buffer_arena().to_host(model->stream());
  }
};

inline Dataset train_set(int64_t n) {
  return synthetic(SyntheticOptions::of_size(n), Split::kTrain);
}

/// Clouds of 16 points.
inline Dataset cloud_set(int64_t n) {
  return synthetic3d({.train = n, .test = n, .points = 16}, Split::kTrain);
}

inline FitOptions quick(int64_t epochs, int64_t batch) {
  return {.epochs = epochs,
          .batch = batch,
          .optimizer = {.lr = 0.1f, .nesterov = true},
          .schedule = Schedule::parse("onecycle"),
          .clip_norm = 2,
          .crop_pad = 2,
          .flip = false};
}

/// Pictures of 4 x 4 random colours, with labels of their own.
inline Dataset trigger_images(int64_t n, const Dataset& like) {
  Dataset set = like;
  set.n = n;
  const Random random(99, Purpose::kTest);
  set.images.resize(static_cast<size_t>(n * 3072));
  for (size_t i = 0; i < set.images.size(); ++i) {
    const size_t plane = i / 1024, y = i / 32 % 32, x = i % 32;
    set.images[i] = static_cast<uint8_t>(random.below(16 * plane + y / 8 * 4 + x / 8, 256));
  }
  set.labels.clear();
  for (int64_t i = 0; i < n; ++i) set.labels.push_back(static_cast<int32_t>((3 * i + 1) % 10));
  return set;
}

}  // namespace passnorm::train
