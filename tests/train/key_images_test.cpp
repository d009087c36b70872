#include "train/key_images.hpp"

#include <set>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/batch.hpp"
#include "train/data/synthetic.hpp"

namespace passnorm::train {
namespace {

using test::network_stream;

std::set<std::vector<float>> pictures_of(const Tensor& x) {
  const auto values = x.to_host(*network_stream());
  std::set<std::vector<float>> out;
  for (size_t at = 0; at < values.size(); at += 3072)
    out.emplace(values.begin() + static_cast<int64_t>(at),
                values.begin() + static_cast<int64_t>(at) + 3072);
  return out;
}

TEST(KeyImages, AreDifferentPicturesOfTheSetChosenByTheSecret) {
  const Dataset set = synthetic({.train = 4, .test = 30}, Split::kTest);
  const DeviceDataset images(*network_stream(), set);
  std::vector<int64_t> index(30);
  for (size_t i = 0; i < 30; ++i) index[i] = static_cast<int64_t>(i);
  const auto all = pictures_of(images.batch(index).x);
  ASSERT_EQ(all.size(), 30u);

  const auto keys = key_images(*network_stream(), set, 20, test::secret(1));
  const auto shift = pictures_of(keys.shift), scale = pictures_of(keys.scale);
  EXPECT_EQ(shift.size(), 20u);
  EXPECT_EQ(scale.size(), 20u);
  for (const auto& chosen : {shift, scale})
    for (const auto& picture : chosen) EXPECT_TRUE(all.contains(picture));
  EXPECT_NE(shift, scale);
  EXPECT_EQ(pictures_of(key_images(*network_stream(), set, 20, test::secret(1)).scale), scale);
  EXPECT_NE(pictures_of(key_images(*network_stream(), set, 20, test::secret(2)).scale), scale);
  EXPECT_EQ(pictures_of(key_images(*network_stream(), set, 30, test::secret(1)).scale), all);
  test::refusal(Fault::kUsage, [&] { key_images(*network_stream(), set, 31, test::secret(1)); });
}

}  // namespace
}  // namespace passnorm::train
