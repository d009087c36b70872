// What the course of a run depends on: a checkpoint goes on only where all of it is the same.
#pragma once

#include "train/trainer.hpp"

namespace passnorm::train {

/// By the names that users know: values of options, hashes of model, passport and images.
Metadata fingerprint(const Model& model, const Passport* passport, const FitData& data,
                     const FitOptions& options);

}  // namespace passnorm::train
