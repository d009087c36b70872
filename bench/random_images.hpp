// The batch that whole-network benches run on: pixels uniform in [-1, 1), random labels.
#pragma once

#include "models/model.hpp"

namespace passnorm::bench {

struct RandomImages {
  Tensor x;       ///< [N, H, W, C] f32, bf16 or f16, as the model takes them
  Tensor labels;  ///< [N] i32
};
RandomImages random_images(const Model& model, int64_t batch, DType dtype = DType::kF32);

/// The passport that benches open: made anew, nobody's.
Passport bench_passport(const Model& model);

}  // namespace passnorm::bench
