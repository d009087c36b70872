// All of passnorm: build a model with passports, train it, and examine a claim of ownership.
#pragma once

#include "models/export.hpp"
#include "models/model.hpp"
#include "models/model_file.hpp"
#include "passnorm/version.hpp"
#include "train/batch.hpp"
#include "train/trainer.hpp"
#include "verify/examine.hpp"
