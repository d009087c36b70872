// All of passnorm: build a model with passports, train it, and examine a claim of ownership.
#pragma once

#if __has_include("engine/engine.hpp")
#include "engine/engine.hpp"
#endif
#if __has_include("models/model.hpp")
#include "models/model.hpp"
#endif
#if __has_include("train/trainer.hpp")
#include "train/trainer.hpp"
#endif
#if __has_include("verify/examine.hpp")
#include "verify/examine.hpp"
#endif
#include "passnorm/version.hpp"
