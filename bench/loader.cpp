#include "bench/loader.hpp"

#include "bench/ceilings.hpp"
#include "bench/step.hpp"
#include "train/batch.hpp"
#include "train/data/loader.hpp"
#include "train/data/synthetic.hpp"

namespace passnorm::bench {

LoaderTimes time_loader(std::shared_ptr<Stream> stream, const LoaderBench& o) {
  const train::ImageSet set =
      train::synthetic(train::SyntheticOptions::of_size(10'000), train::Split::kTrain);
  const train::DeviceImages images(*stream, set);
  train::Loader loader(set.n, {.batch = o.batch});
  int64_t at = 0;
  const auto next = [&](const train::DeviceImages::Augmentation& augmentation) {
    const int64_t epoch = at / loader.steps(), step = at % loader.steps();
    images.batch(loader.indices(epoch, step), augmentation);
    ++at;
  };
  LoaderTimes times;
  times.seconds = repeat(*stream, o.repetition, [&] { next({.pad = 4, .flip = true, .seed = 1}); });
  times.median = median(times.seconds);
  times.images_per_second = static_cast<double>(o.batch) / times.median;
  times.bytes = static_cast<double>(o.batch * set.channels * set.h * set.w) * (1 + sizeof(float));
  times.share = times.bytes / times.median / Ceilings(*stream).copy(times.bytes);
  times.plain = median(repeat(*stream, o.repetition, [&] { next({}); }));

  const auto tiny =
      models::make("tiny", {.plan = PassportPlan::of("pan", "last")}, std::move(stream));
  times.tiny_step = time_steps(*tiny, {.batch = o.batch, .repetition = o.repetition}).median;
  times.share_of_step = times.median / (times.median + times.tiny_step);
  return times;
}

}  // namespace passnorm::bench
