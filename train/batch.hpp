// Images on the device, and batches made of them.
#pragma once

#include "engine/tensor/tensor.hpp"
#include "models/model_file.hpp"
#include "train/data/dataset.hpp"

namespace passnorm::train {

struct Batch {
  Tensor x;       ///< [N, H, W, C] normalised
  Tensor labels;  ///< [N] i32
};

/// A data set that stays on the device as bytes; every batch is picked, augmented and normalised
/// there in one pass.
class DeviceImages {
 public:
  DeviceImages(Stream& stream, const ImageSet& set);

  int64_t size() const { return images_.shape()[0]; }

  struct Augmentation {
    int64_t pad = 0;    ///< random crops of the image padded by this many pixels
    bool flip = false;  ///< horizontal, half of the images
    uint64_t seed = 0;
    DeviceValue<uint32_t> epoch = 0u;
  };
  /// x of a type: f32, bf16 or f16.
  Batch batch(std::span<const int64_t> index, const Augmentation& augmentation,
              DType dtype = DType::kF32) const;
  Batch batch(std::span<const int64_t> index, DType dtype = DType::kF32) const {
    return batch(index, Augmentation{}, dtype);
  }
  /// An empty batch of n such images, and the images `index` [i64] into its rows from `first` on.
  Batch empty_batch(int64_t n, DType dtype) const;
  void fill(const Batch& batch, int64_t first, const Tensor& index,
            const Augmentation& augmentation) const;

 private:
  Stream& stream_;
  Tensor images_;  ///< [n, C, H, W] u8
  Tensor labels_;  ///< [n] i32
  std::array<float, 4> mean_, stddev_;
};

/// Error(kUsage) unless the images and classes of the set are what the model takes.
void check_fits(const ImageSet& set, const Model& model);

/// What a model file keeps of a set, and a set normalised as a model expects.
models::InputNormalisation normalisation_of(const ImageSet& set);
void normalise_as(ImageSet& set, const models::InputNormalisation& normalisation);

}  // namespace passnorm::train
