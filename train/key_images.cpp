#include "train/key_images.hpp"

#include <numeric>

#include "train/batch.hpp"

namespace passnorm::train {

models::KeyImages key_images(Stream& stream, const Dataset& set, int64_t count,
                             const Secret32& secret) {
  if (set.n < count)
    fail(Fault::kUsage, "a passport of ", count, " images needs a set of at least as many, not ",
         set.n);
  const DeviceDataset images(stream, set);
  const auto pick = [&](const char* role) {
    std::vector<int64_t> index(static_cast<size_t>(set.n));
    std::iota(index.begin(), index.end(), 0);
    const SecretVector<uint32_t> words =
        keyed_stream_u32(secret, "passnorm key images v1", role, count);
    for (size_t i = 0; i < words.size(); ++i)
      std::swap(index[i], index[i + ((uint64_t{words[i]} * (index.size() - i)) >> 32)]);
    index.resize(words.size());
    return images.batch(index).x;
  };
  models::KeyImages out;
  out.shift = pick("shift");
  out.scale = pick("scale");
  return out;
}

}  // namespace passnorm::train
