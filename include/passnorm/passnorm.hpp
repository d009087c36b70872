// All of passnorm: build a model with passports, train it, and examine a claim of ownership.
#pragma once

#include "models/model.hpp"
#include "passnorm/version.hpp"
#include "train/trainer.hpp"
#include "verify/examine.hpp"
