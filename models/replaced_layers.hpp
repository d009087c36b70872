// What a passport can still claim of a network whose last layer a thief replaced.
#pragma once

#include "engine/io/safetensors.hpp"
#include "engine/passport/passport.hpp"
#include "models/model.hpp"

namespace passnorm::models {

/// The passport without its linear sites that have another number of outputs in the network: who
/// trains on another task's classes puts a new last layer in, and what the old one carried is gone.
/// That the claim may choose its sites is counted already (verify::log2_of_tests). Bits that follow
/// from a seed do so at every site for itself and stay bound; those of given keys are bound to all
/// keys together, so that a part of them is free. The passport itself where every site fits, or
/// none does.
Passport without_replaced_layers(const Passport& passport, const Model& network);
/// The same of a released file.
Passport without_replaced_layers(const Passport& passport, const SafeTensors& network);

}  // namespace passnorm::models
