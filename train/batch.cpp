#include "train/batch.hpp"

#include <algorithm>

#include "kernels/augment.hpp"

namespace passnorm::train {

DeviceImages::DeviceImages(Stream& stream, const ImageSet& set)
    : stream_(stream),
      images_(Tensor::from<uint8_t>(stream, {set.n, set.channels, set.h, set.w}, set.images)),
      labels_(Tensor::from<int32_t>(stream, {set.n}, set.labels)),
      mean_(set.mean),
      stddev_(set.stddev) {}

Batch DeviceImages::empty_batch(int64_t n, DType dtype) const {
  const Shape& s = images_.shape();
  return {Tensor::empty(stream_, {n, s[2], s[3], s[1]}, dtype),
          Tensor::empty(stream_, {n}, DType::kI32)};
}

void DeviceImages::fill(const Batch& batch, int64_t first, const Tensor& index,
                        const Augmentation& augmentation) const {
  const int64_t n = index.size();
  const Shape &s = images_.shape(), to = batch.x.shape();
  PASSNORM_CHECK(to == (Shape{to[0], s[2], s[3], s[1]}), "images ", s, " into a batch ", to);
  const Tensor rows = batch.x.slice(first * to.size() / to[0], to.with_rows(n));
  dispatch(stream_, [&](auto& stream) {
    kernels::augment(stream, {.n = n,
                              .h = s[2],
                              .w = s[3],
                              .c = s[1],
                              .images = images_.span<uint8_t>(),
                              .index = index.span<int64_t>(),
                              .mean = mean_,
                              .stddev = stddev_,
                              .pad = augmentation.pad,
                              .flip = augmentation.flip,
                              .seed = augmentation.seed,
                              .epoch = augmentation.epoch,
                              .y = rows.view(),
                              .labels = labels_.span<int32_t>(),
                              .picked_labels = batch.labels.slice(first, {n}).span<int32_t>()});
  });
}

Batch DeviceImages::batch(std::span<const int64_t> index, const Augmentation& augmentation,
                          DType dtype) const {
  const auto n = static_cast<int64_t>(index.size());
  const Batch batch = empty_batch(n, dtype);
  fill(batch, 0, Tensor::from<int64_t>(stream_, {n}, index), augmentation);
  return batch;
}

void check_fits(const ImageSet& set, const Model& model) {
  const Shape& in = model.architecture().input;
  if (Shape{set.h, set.w, set.channels} != in || set.classes != model.options().classes)
    fail(Fault::kUsage, "the data have ", set.classes, " classes of ", set.channels, "x", set.h,
         "x", set.w, " images; the model takes ", model.options().classes, " classes of ", in[2],
         "x", in[0], "x", in[1]);
}

models::InputNormalisation normalisation_of(const ImageSet& set) {
  return {{set.mean.begin(), set.mean.begin() + set.channels},
          {set.stddev.begin(), set.stddev.begin() + set.channels}};
}

void normalise_as(ImageSet& set, const models::InputNormalisation& normalisation) {
  PASSNORM_CHECK(static_cast<int64_t>(normalisation.mean.size()) == set.channels, set.channels,
                 " channels");
  std::ranges::copy(normalisation.mean, set.mean.begin());
  std::ranges::copy(normalisation.stddev, set.stddev.begin());
}

}  // namespace passnorm::train
