#include "train/batches.hpp"

#include <algorithm>

namespace passnorm::train {
namespace {

// Triggers have random numbers of their own: those of the training data belong to another key.
constexpr uint64_t kOfTriggers = 0x7472696767657273;

}  // namespace

Batches::Batches(Stream& stream, const FitData& data, const FitOptions& o)
    : stream_(stream),
      options_(o),
      images_(stream, data.train),
      loader_(data.train.n, {.batch = o.batch, .seed = o.seed, .drop_last = true}) {
  if (steps() < 1)
    fail(Fault::kUsage, "--batch ", o.batch, " is larger than the ", data.train.n, " training ",
         data.train.noun());
  if (!data.triggers) return;
  if (o.triggers_per_batch < 1 || o.triggers_per_batch > data.triggers->n)
    fail(Fault::kUsage, o.triggers_per_batch, " triggers in a batch, of a set of ",
         data.triggers->n);
  triggers_.emplace(stream, *data.triggers);
  trigger_loader_.emplace(data.triggers->n, LoaderOptions{.batch = o.triggers_per_batch,
                                                          .seed = o.seed ^ kOfTriggers,
                                                          .drop_last = true});
}

int64_t Batches::rows() const {
  return options_.batch + (triggers_ ? options_.triggers_per_batch : 0);
}

Batch Batches::at(const Position& p) {
  std::vector<int64_t> index(static_cast<size_t>(rows()));
  choose(p, index);
  const Batch batch = empty();
  fill(batch, Tensor::from<int64_t>(stream_, {rows()}, index), static_cast<uint32_t>(p.epoch));
  return batch;
}

void Batches::choose(const Position& p, std::span<int64_t> to) {
  const auto behind = std::ranges::copy(loader_.indices(p.epoch, p.step), to.begin()).out;
  if (!triggers_) return;
  const int64_t length = trigger_loader_->steps(), passes = (steps() + length - 1) / length;
  std::ranges::copy(trigger_loader_->indices(p.epoch * passes + p.step / length, p.step % length),
                    behind);
}

void Batches::fill(const Batch& batch, const Tensor& index, DeviceValue<uint32_t> epoch) const {
  const int64_t n = options_.batch;
  images_.fill(batch, 0, index.slice(0, {n}),
               {.pad = options_.crop_pad,
                .flip = options_.flip,
                .points = options_.augment_points,
                .seed = options_.seed,
                .epoch = epoch});
  // A trigger comes several times in an epoch, each time augmented alike.
  if (triggers_)
    triggers_->fill(
        batch, n, index.slice(n, {rows() - n}),
        {.points = options_.augment_points, .seed = options_.seed ^ kOfTriggers, .epoch = epoch});
}

}  // namespace passnorm::train
