#include "train/batch.hpp"

#include <algorithm>

#include "kernels/augment.hpp"
#include "kernels/augment_points.hpp"

namespace passnorm::train {
namespace {

// Of PointNet's training in the reference implementations.
constexpr float kMaxDropout = 0.875f, kScaleLow = 0.8f, kScaleHigh = 1.25f, kShift = 0.1f;

Tensor on_device(Stream& stream, const Dataset& set) {
  if (set.is_cloud()) return Tensor::from<float>(stream, {set.n, set.w, 3}, set.points);
  return Tensor::from<uint8_t>(stream, {set.n, set.channels, set.h, set.w}, set.images);
}

}  // namespace

DeviceDataset::DeviceDataset(Stream& stream, const Dataset& set)
    : stream_(stream),
      data_(on_device(stream, set)),
      labels_(Tensor::from<int32_t>(stream, {set.n}, set.labels)),
      example_{set.h, set.w, set.channels},
      mean_(set.mean),
      stddev_(set.stddev) {}

Batch DeviceDataset::empty_batch(int64_t n, DType dtype) const {
  return {Tensor::empty(stream_, {n, example_[0], example_[1], example_[2]}, dtype),
          Tensor::empty(stream_, {n}, DType::kI32)};
}

void DeviceDataset::fill(const Batch& batch, int64_t first, const Tensor& index,
                         const Augmentation& augmentation) const {
  const int64_t n = index.size(), h = example_[0], w = example_[1], c = example_[2];
  const Shape& to = batch.x.shape();
  PASSNORM_CHECK(to == (Shape{to[0], h, w, c}), "examples ", example_, " into a batch ", to);
  const int64_t from = first * h * w * c;
  const auto labels = labels_.span<int32_t>();
  const auto picked_labels = batch.labels.slice(first, {n}).span<int32_t>();
  dispatch(stream_, [&](auto& stream) {
    if (data_.dtype() == DType::kU8)
      kernels::augment(stream, {.n = n,
                                .h = h,
                                .w = w,
                                .c = c,
                                .images = data_.span<uint8_t>(),
                                .index = index.span<int64_t>(),
                                .mean = mean_,
                                .stddev = stddev_,
                                .pad = augmentation.pad,
                                .flip = augmentation.flip,
                                .seed = augmentation.seed,
                                .epoch = augmentation.epoch,
                                .y = batch.x.slice(from, {n, h, w, c}).view(),
                                .labels = labels,
                                .picked_labels = picked_labels});
    else
      kernels::augment_points(stream, {.n = n,
                                       .points = w,
                                       .clouds = data_.span(),
                                       .index = index.span<int64_t>(),
                                       .max_dropout = augmentation.points ? kMaxDropout : 0,
                                       .scale_low = augmentation.points ? kScaleLow : 1,
                                       .scale_high = augmentation.points ? kScaleHigh : 1,
                                       .shift = augmentation.points ? kShift : 0,
                                       .seed = augmentation.seed,
                                       .epoch = augmentation.epoch,
                                       .y = batch.x.slice(from, {n, w, c}).view(),
                                       .labels = labels,
                                       .picked_labels = picked_labels});
  });
}

Batch DeviceDataset::batch(std::span<const int64_t> index, const Augmentation& augmentation,
                           DType dtype) const {
  const auto n = static_cast<int64_t>(index.size());
  const Batch batch = empty_batch(n, dtype);
  fill(batch, 0, Tensor::from<int64_t>(stream_, {n}, index), augmentation);
  return batch;
}

void check_fits(const Dataset& set, const Model& model) {
  const Shape in = model.input();
  const bool clouds = model.architecture().of_points();
  if (set.is_cloud() == clouds && set.classes == model.options().classes && set.channels == in[2] &&
      (clouds || Shape{set.h, set.w, set.channels} == in))
    return;
  fail(Fault::kUsage, "the data have ", set.classes, " classes of ", set.form(),
       "; the model takes ", model.options().classes, " classes of ",
       clouds ? "clouds" : concat(in[2], "x", in[0], "x", in[1], " images"));
}

models::InputNormalisation normalisation_of(const Dataset& set) {
  return {{set.mean.begin(), set.mean.begin() + set.channels},
          {set.stddev.begin(), set.stddev.begin() + set.channels}};
}

void normalise_as(Dataset& set, const models::InputNormalisation& normalisation) {
  const auto& [mean, stddev] = normalisation;
  PASSNORM_CHECK(static_cast<int64_t>(mean.size()) == set.channels, set.channels, " channels");
  const auto all = [](const std::vector<float>& values, float v) {
    return std::ranges::all_of(values, [v](float x) { return x == v; });
  };
  if (set.is_cloud() && !(all(mean, 0) && all(stddev, 1)))
    fail(Fault::kInput,
         "the model says that its clouds are normalised: expected mean 0 and standard deviation 1");
  std::ranges::copy(mean, set.mean.begin());
  std::ranges::copy(stddev, set.stddev.begin());
}

}  // namespace passnorm::train
