#include "train/batches.hpp"

namespace passnorm::train {

Batches::Batches(Stream& stream, const FitData& data, const FitOptions& o)
    : options_(o),
      images_(stream, data.train),
      loader_(data.train.n, {.batch = o.batch, .seed = o.seed, .drop_last = true}) {
  if (steps() < 1)
    fail(Fault::kUsage, "--batch ", o.batch, " is larger than the ", data.train.n,
         " training images");
  if (!data.triggers) return;
  if (o.triggers_per_batch < 1 || o.triggers_per_batch > data.triggers->n)
    fail(Fault::kUsage, o.triggers_per_batch, " triggers in a batch, of a set of ",
         data.triggers->n);
  triggers_.emplace(stream, *data.triggers);
  // Its own random numbers: those of the training images' order belong to another key.
  constexpr uint64_t kTriggers = 0x7472696767657273;
  trigger_loader_.emplace(
      data.triggers->n,
      LoaderOptions{.batch = o.triggers_per_batch, .seed = o.seed ^ kTriggers, .drop_last = true});
}

int64_t Batches::rows() const {
  return options_.batch + (triggers_ ? options_.triggers_per_batch : 0);
}

Batch Batches::at(const Position& p) {
  const Batch batch = images_.empty_batch(rows(), options_.precision);
  images_.fill(batch, 0, loader_.indices(p.epoch, p.step),
               {.pad = options_.crop_pad,
                .flip = options_.flip,
                .seed = options_.seed,
                .epoch = static_cast<uint32_t>(p.epoch)});
  if (triggers_) {
    const int64_t length = trigger_loader_->steps(), passes = (steps() + length - 1) / length;
    triggers_->fill(batch, options_.batch,
                    trigger_loader_->indices(p.epoch * passes + p.step / length, p.step % length),
                    {});
  }
  return batch;
}

}  // namespace passnorm::train
