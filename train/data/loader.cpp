#include "train/data/loader.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::train {

Loader::Loader(int64_t n, const LoaderOptions& options) : options_(options) {
  PASSNORM_CHECK(n >= 0 && n <= std::numeric_limits<uint32_t>::max(), n, " images");
  PASSNORM_CHECK(options.batch > 0, "batch of ", options.batch);
  order_.resize(static_cast<size_t>(n));
}

int64_t Loader::steps() const {
  const int64_t n = std::ssize(order_), batch = options_.batch;
  return n / batch + (!options_.drop_last && n % batch != 0);
}

std::span<const int64_t> Loader::indices(int64_t epoch, int64_t step) {
  PASSNORM_CHECK(epoch >= 0 && epoch <= std::numeric_limits<uint32_t>::max(), "epoch ", epoch);
  PASSNORM_CHECK(step >= 0 && step < steps(), "step ", step, " of ", steps());
  if (epoch != epoch_) order_epoch(epoch);
  const auto begin = static_cast<size_t>(step * options_.batch);
  return std::span(order_).subspan(
      begin, std::min(static_cast<size_t>(options_.batch), order_.size() - begin));
}

void Loader::order_epoch(int64_t epoch) {
  std::iota(order_.begin(), order_.end(), int64_t{0});
  epoch_ = epoch;
  if (!options_.shuffle) return;
  const Random random(options_.seed, Purpose::kShuffle, static_cast<uint32_t>(epoch));
  for (size_t i = order_.size(); i-- > 1;)
    std::swap(order_[i], order_[random.below(i, static_cast<uint32_t>(i + 1))]);
}

}  // namespace passnorm::train
