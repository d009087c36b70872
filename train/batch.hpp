// Data sets on the device, and batches made of them.
#pragma once

#include "engine/tensor/tensor.hpp"
#include "models/model_file.hpp"
#include "train/data/dataset.hpp"

namespace passnorm::train {

struct Batch {
  Tensor x;       ///< [N, H, W, C] normalised
  Tensor labels;  ///< [N] i32
};

/// A data set that stays on the device, images as bytes and clouds as f32; every batch is picked,
/// augmented and normalised there in one pass.
class DeviceDataset {
 public:
  DeviceDataset(Stream& stream, const Dataset& set);

  int64_t size() const { return labels_.size(); }
  const Shape& example() const { return example_; }  ///< [H, W, C] of one image or cloud
  const Tensor& labels() const { return labels_; }   ///< [n] i32

  struct Augmentation {
    int64_t pad = 0;      ///< images: random crops of the image padded by this many pixels
    bool flip = false;    ///< images: horizontal, half of them
    bool points = false;  ///< clouds: points dropped, scaled and shifted as PointNet is trained
    uint64_t seed = 0;
    DeviceValue<uint32_t> epoch = 0u;
  };
  /// x of a type: f32, bf16 or f16.
  Batch batch(std::span<const int64_t> index, const Augmentation& augmentation,
              DType dtype = DType::kF32) const;
  Batch batch(std::span<const int64_t> index, DType dtype = DType::kF32) const {
    return batch(index, Augmentation{}, dtype);
  }
  /// An empty batch of n such examples, and the examples `index` [i64] into its rows from `first`
  /// on.
  Batch empty_batch(int64_t n, DType dtype) const;
  void fill(const Batch& batch, int64_t first, const Tensor& index,
            const Augmentation& augmentation) const;

 private:
  Stream& stream_;
  Tensor data_;    ///< images: [n, C, H, W] u8; clouds: [n, L, 3] f32
  Tensor labels_;  ///< [n] i32
  Shape example_;
  std::array<float, 4> mean_, stddev_;
};

/// Error(kUsage) unless the images and classes of the set are what the model takes. A model of
/// clouds takes clouds of any number of points.
void check_fits(const Dataset& set, const Model& model);

/// What a model file keeps of a set, and a set normalised as a model expects. Clouds are not
/// normalised: mean 0 and standard deviation 1, Error(kInput) for others.
models::InputNormalisation normalisation_of(const Dataset& set);
void normalise_as(Dataset& set, const models::InputNormalisation& normalisation);

}  // namespace passnorm::train
