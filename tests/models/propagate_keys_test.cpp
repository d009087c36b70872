// Keys from images: which channel of which picture becomes which channel of the key.
#include "models/propagate_keys.hpp"

#include <map>
#include <set>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::models {
namespace {

using test::network_stream;
using test::refusal;

std::unique_ptr<Model> pretrained(std::string_view architecture = "tiny") {
  auto model = make(architecture, {.points = 16, .seed = 11}, network_stream());
  test::unsettle(*model);
  return model;
}

std::vector<Site> sites(std::string_view architecture = "tiny", std::string_view which = "all") {
  return make(architecture, {.plan = PassportPlan::of("pan", which), .points = 16},
              network_stream())
      ->sites();
}

KeyImages images(const Model& model, int64_t n) {
  return {.shift = test::pictures(model, n, 21), .scale = test::pictures(model, n, 22)};
}

PropagateOptions with_secret(uint64_t n) {
  return {.secret = test::secret(n), .signature = Signature::from_text("owner")};
}

/// What a layer of a network in evaluation mode sees: [n][C] planes.
using Planes = std::vector<std::vector<std::vector<float>>>;
Planes layer_input(Model& model, const Tensor& x, const std::string& layer) {
  Planes planes;
  model.on_layer_input = [&](const std::string& name, const Var& v) {
    if (name != layer) return;
    const Shape& s = v.shape();
    const std::vector<float> values = v.value.to_host(model.stream());
    planes.resize(static_cast<size_t>(s[0]));
    for (int64_t i = 0; i < s[0]; ++i)
      for (int64_t c = 0; c < s[3]; ++c) {
        auto& plane = planes[static_cast<size_t>(i)].emplace_back();
        for (int64_t p = 0; p < s[1] * s[2]; ++p)
          plane.push_back(values[static_cast<size_t>((i * s[1] * s[2] + p) * s[3] + c)]);
      }
  };
  test::logits(model, nullptr, Branch::kPublic, x);
  model.on_layer_input = nullptr;
  return planes;
}

std::vector<std::vector<float>> channels_of(std::span<const float> key, int64_t channels) {
  const size_t plane = key.size() / static_cast<size_t>(channels);
  std::vector<std::vector<float>> out;
  for (size_t at = 0; at < key.size(); at += plane)
    out.emplace_back(key.begin() + static_cast<int64_t>(at),
                     key.begin() + static_cast<int64_t>(at + plane));
  return out;
}

TEST(PropagateKeys, OneImageIsTheLayersInput) {
  for (const char* architecture : {"tiny", "resnet9", "pointnet"}) {
    const auto model = pretrained(architecture);
    const KeyImages one = images(*model, 1);
    const auto where = sites(architecture, architecture == std::string("tiny") ? "all" : "last");
    const Passport p = propagate_keys(*model, where, one, with_secret(1));
    ASSERT_EQ(p.sites().size(), where.size());
    for (size_t i = 0; i < where.size(); ++i) {
      const SitePassport& s = p.sites()[i];
      EXPECT_EQ(s.site, where[i]);
      const int64_t c = s.site.geometry.c;
      EXPECT_EQ(channels_of(s.scale_key, c), layer_input(*model, one.scale, s.site.name)[0])
          << s.site.name;
      EXPECT_EQ(channels_of(s.shift_key, c), layer_input(*model, one.shift, s.site.name)[0])
          << s.site.name;
      EXPECT_NE(s.scale_key, s.shift_key);
    }
    EXPECT_TRUE(p.bits_bound());
    EXPECT_FALSE(model->on_layer_input);
  }
}

TEST(PropagateKeys, TheShortcutAndTheFirstConvolutionOfABlockHaveOneKey) {
  const auto model = pretrained("resnet9");
  const Passport p =
      propagate_keys(*model, sites("resnet9", "last"), images(*model, 1), with_secret(1));
  const auto key = [&](const char* name) {
    return std::ranges::find(p.sites(), name, [](const SitePassport& s) { return s.site.name; })
        ->scale_key;
  };
  EXPECT_EQ(key("layer4.0.shortcut"), key("layer4.0.convbnrelu_1"));
}

TEST(PropagateKeys, ManyImagesDonateTheirChannelsInTurn) {
  constexpr int64_t kImages = 5;
  const auto model = pretrained();
  const KeyImages many = images(*model, kImages);
  const Passport p = propagate_keys(*model, sites(), many, with_secret(1));
  for (const SitePassport& s : p.sites()) {
    const int64_t c = s.site.geometry.c;
    if (c == 3) continue;
    std::vector<std::vector<int64_t>> origins;
    for (const auto& [key, source] :
         {std::pair{&s.scale_key, &many.scale}, std::pair{&s.shift_key, &many.shift}}) {
      const Planes planes = layer_input(*model, *source, s.site.name);
      const auto channels = channels_of(*key, c);
      ASSERT_EQ(static_cast<int64_t>(channels.size()), c);
      // Dead channels are equal: each content may be used as often as the image has it.
      std::vector<std::map<std::vector<float>, int64_t>> used(kImages);
      auto& origin = origins.emplace_back();
      for (int64_t j = 0; j < c; ++j) {
        const auto image = static_cast<size_t>(j % kImages);
        const auto& from = planes[image];
        const auto& channel = channels[static_cast<size_t>(j)];
        const auto at = std::ranges::find(from, channel);
        ASSERT_NE(at, from.end()) << s.site.name << ": channel " << j << " is not of its image";
        origin.push_back(at - from.begin());
        EXPECT_LE(++used[image][channel], std::ranges::count(from, channel))
            << s.site.name << ": channel " << origin.back() << " of image " << image << " twice";
      }
      EXPECT_FALSE(std::ranges::is_sorted(origin)) << "channels are drawn, not taken in order";
    }
    EXPECT_NE(origins[0], origins[1]) << "scale and shift are drawn independently";
  }
}

TEST(PropagateKeys, ThreeChannelsAreOneWholePicture) {
  const auto model = pretrained();
  const KeyImages many = images(*model, 2);
  const std::vector<Site> stem(1, sites()[0]);
  ASSERT_EQ(stem[0].geometry.c, 3);
  const Planes scale = layer_input(*model, many.scale, "conv1");
  const Planes shift = layer_input(*model, many.shift, "conv1");
  std::set<int64_t> seen;
  for (uint64_t n = 0; n < 12; ++n) {
    const Passport p = propagate_keys(*model, stem, many, with_secret(n));
    const auto at = std::ranges::find(scale, channels_of(p.sites()[0].scale_key, 3));
    ASSERT_NE(at, scale.end());
    EXPECT_NE(std::ranges::find(shift, channels_of(p.sites()[0].shift_key, 3)), shift.end());
    seen.insert(at - scale.begin());
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(PropagateKeys, TheSecretDecides) {
  const auto model = pretrained();
  const KeyImages many = images(*model, 3);
  const auto keys = [&](uint64_t secret) {
    return propagate_keys(*model, sites(), many, with_secret(secret)).sites()[3].scale_key;
  };
  EXPECT_EQ(keys(1), keys(1));
  EXPECT_NE(keys(1), keys(2));
}

TEST(PropagateKeys, RunningStatisticsChangeOnlyOnRequest) {
  const auto model = pretrained();
  const auto state = [&] { return model->parameters().buffer_arena().to_host(model->stream()); };
  const auto weights = [&] { return model->parameters().weights().to_host(model->stream()); };
  const auto before = state(), weights_before = weights();
  const Passport fixed = propagate_keys(*model, sites(), images(*model, 2), with_secret(1));
  EXPECT_EQ(state(), before);
  PropagateOptions o = with_secret(1);
  o.batch_statistics = true;
  const Passport batch = propagate_keys(*model, sites(), images(*model, 2), o);
  EXPECT_NE(state(), before);
  EXPECT_EQ(weights(), weights_before);
  EXPECT_EQ(fixed.sites()[0].scale_key, batch.sites()[0].scale_key);  // the pictures themselves
  EXPECT_NE(fixed.sites()[1].scale_key, batch.sites()[1].scale_key);
}

TEST(PropagateKeys, NeedsANetworkWithTheSameLayers) {
  const auto model = pretrained();
  EXPECT_CONTAINS(
      refusal(Fault::kUsage,
              [&] { propagate_keys(*model, sites("alexnet"), images(*model, 1), with_secret(1)); }),
      "no layer features.0");
  std::vector<Site> wide = sites();
  wide[2].geometry.h += 1;
  EXPECT_CONTAINS(refusal(Fault::kUsage,
                          [&] { propagate_keys(*model, wide, images(*model, 1), with_secret(1)); }),
                  "conv3");
}

}  // namespace
}  // namespace passnorm::models
