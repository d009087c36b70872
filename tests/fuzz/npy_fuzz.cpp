#include <cmath>

#include "tests/fuzz/fuzz.hpp"
#include "train/data/npy.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  std::vector<float> cloud;
  for (const int64_t points : {2, 0})
    if (!accepts({Fault::kInput}, [&] { cloud = train::decode_npy_cloud("f", input, points); }))
      return;
  require(!cloud.empty() && cloud.size() % 3 == 0, "a cloud has points");
  require(std::ranges::all_of(cloud, [](float x) { return std::isfinite(x); }),
          "coordinates are finite");
  require(train::decode_npy_cloud("f", train::encode_npy_cloud(cloud), 0) == cloud,
          "a cloud is read as it was written");
}
