#include "train/batch.hpp"

#include <algorithm>

#include "kernels/augment.hpp"

namespace passnorm::train {

DeviceImages::DeviceImages(Stream& stream, const ImageSet& set)
    : stream_(stream),
      images_(Tensor::from<uint8_t>(stream, {set.n, set.channels, set.h, set.w}, set.images)),
      labels_(set.labels),
      mean_(set.mean),
      stddev_(set.stddev) {}

Batch DeviceImages::batch(std::span<const int64_t> index, const Augmentation& augmentation) const {
  const auto n = static_cast<int64_t>(index.size());
  const int64_t c = images_.shape()[1], h = images_.shape()[2], w = images_.shape()[3];
  std::vector<int32_t> labels;
  labels.reserve(index.size());
  for (const int64_t i : index) labels.push_back(labels_.at(static_cast<size_t>(i)));
  const Tensor picked = Tensor::from<int64_t>(stream_, {n}, index);
  Batch batch{Tensor::empty(stream_, {n, h, w, c}), Tensor::from<int32_t>(stream_, {n}, labels)};
  dispatch(stream_, [&](auto& s) {
    kernels::augment(s, {.n = n,
                         .h = h,
                         .w = w,
                         .c = c,
                         .images = images_.span<uint8_t>(),
                         .index = picked.span<int64_t>(),
                         .mean = mean_,
                         .stddev = stddev_,
                         .pad = augmentation.pad,
                         .flip = augmentation.flip,
                         .seed = augmentation.seed,
                         .epoch = augmentation.epoch,
                         .y = batch.x.view()});
  });
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
