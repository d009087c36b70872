// Copies of a network in memory: the same, as a thief gets it, and as a judge examines it.
#pragma once

#include "models/model.hpp"

namespace passnorm::models {

/// All weights and statistics in a new network of the same options, on the same stream.
std::unique_ptr<Model> copy_of(const Model& model);

/// What is released: an ordinary network (scheme none) with the tensors of the public branch under
/// released names. deepipr-v1 has no public branch: its copy has the scale and shift that the
/// passport gives (of other schemes it is not read and may be null). Error(kSecret) without it.
std::unique_ptr<Model> released_copy(const Model& model, const Passport* passport);

/// An ordinary network `suspect` with the passport's sites, scheme and lane state: the network that
/// examine() reads, as load_suspect makes it of a file. Error(kInput) when the passport is for
/// another architecture.
std::unique_ptr<Model> with_passport(const Model& suspect, const Passport& passport);

}  // namespace passnorm::models
