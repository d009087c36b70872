#include "bench/loader.hpp"

#include <algorithm>

#include "bench/ceilings.hpp"
#include "bench/step.hpp"
#include "train/batch.hpp"
#include "train/data/loader.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"

namespace passnorm::bench {

LoaderTimes time_loader(std::shared_ptr<Stream> stream, const LoaderBench& o) {
  const train::Dataset set =
      train::synthetic(train::SyntheticOptions::of_size(10'000), train::Split::kTrain);
  const auto time = [&](const train::DeviceDataset& data,
                        const train::DeviceDataset::Augmentation& augmentation) {
    train::Loader loader(data.size(), {.batch = o.batch});
    int64_t at = 0;
    return repeat(*stream, o.repetition, [&] {
      data.batch(loader.indices(at / loader.steps(), at % loader.steps()), augmentation);
      ++at;
    });
  };
  const train::DeviceDataset images(*stream, set);
  LoaderTimes times;
  times.seconds = time(images, {.pad = 4, .flip = true, .seed = 1});
  times.median = median(times.seconds);
  times.images_per_second = static_cast<double>(o.batch) / times.median;
  times.bytes = static_cast<double>(o.batch * set.channels * set.h * set.w) * (1 + sizeof(float));
  times.share = times.bytes / times.median / Ceilings(*stream).copy(times.bytes);
  times.plain = median(time(images, {}));
  const auto n = std::max<int64_t>(1000, o.batch);
  const train::DeviceDataset clouds(
      *stream, train::synthetic3d({.train = n, .points = 1024}, train::Split::kTrain));
  times.clouds = median(time(clouds, {.points = true, .seed = 1}));

  const auto tiny =
      models::make("tiny", {.plan = PassportPlan::of("pan", "last")}, std::move(stream));
  times.tiny_step = time_steps(*tiny, {.batch = o.batch, .repetition = o.repetition}).median;
  times.share_of_step = times.median / (times.median + times.tiny_step);
  return times;
}

}  // namespace passnorm::bench
