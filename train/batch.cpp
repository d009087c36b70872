#include "train/batch.hpp"

#include <algorithm>

#include "kernels/augment.hpp"

namespace passnorm::train {

DeviceImages::DeviceImages(Stream& stream, const ImageSet& set)
    : stream_(stream),
      set_(set),
      images_(Tensor::from<uint8_t>(stream, {set.n, set.channels, set.h, set.w}, set.images)) {}

Batch DeviceImages::batch(std::span<const int64_t> index, const Augmentation& augmentation) const {
  const auto n = static_cast<int64_t>(index.size());
  std::vector<int32_t> labels;
  labels.reserve(index.size());
  for (const int64_t i : index) labels.push_back(set_.labels.at(static_cast<size_t>(i)));
  const Tensor picked = Tensor::from<int64_t>(stream_, {n}, index);
  Batch batch{Tensor::empty(stream_, {n, set_.h, set_.w, set_.channels}),
              Tensor::from<int32_t>(stream_, {n}, labels)};
  kernels::Augment a{.n = n,
                     .h = set_.h,
                     .w = set_.w,
                     .c = set_.channels,
                     .images = images_.span<uint8_t>(),
                     .index = picked.span<int64_t>(),
                     .pad = augmentation.pad,
                     .flip = augmentation.flip,
                     .seed = augmentation.seed,
                     .epoch = augmentation.epoch,
                     .y = batch.x.view()};
  for (size_t c = 0; c < static_cast<size_t>(set_.channels); ++c) {
    a.mean[c] = set_.mean[c];
    a.stddev[c] = set_.stddev[c];
  }
  dispatch(stream_, [&](auto& s) { kernels::augment(s, a); });
  return batch;
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
