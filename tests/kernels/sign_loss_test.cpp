#include "tests/kernels/passport_sites.hpp"
#include "tests/reference/passport.hpp"
#include "tests/support/device_value.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using reference::Sums;

TEST(SignLoss, GroupOfSites) {
  std::vector<int64_t> channels{1, 31, 64, 33, 512};
  for (int64_t i = 0; i < 40; ++i)
    channels.push_back(1 + i % 5);  // more than a launch has room for
  std::vector<Buffer> bits;
  std::vector<kernels::SignSite> sites;
  int64_t total = 0;
  for (uint32_t i = 0; i < channels.size(); ++i) {
    std::vector<double> b = whole(channels[i], 10 + i, 2);
    for (double& v : b) v = 2 * v - 1;
    bits.emplace_back(DType::kI8, b);
    sites.push_back(
        {.channels = channels[i], .offset = total, .bits = bits[i].read_as<int8_t>().data()});
    total += 2 * channels[i];
  }
  std::vector<double> values = uniform(total, 1);
  for (size_t i = 0; i < values.size(); i += 5) values[i] = 0;      // zero is wrong for either bit
  for (size_t i = 1; i < values.size(); i += 5) values[i] *= 0.05;  // right, but within the margin
  const Buffer raw(DType::kF32, values), before(DType::kF32, uniform(total, 2));
  const float alpha = 0.1f, margin = 0.1f, decay = 1e-5f, weight = 128;
  for (bool want_draw : {true, false}) {
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer loss(DType::kF32, static_cast<int64_t>(sites.size())),
          matched(DType::kI32, static_cast<int64_t>(sites.size())), draw;
      if (want_draw) draw = Buffer(DType::kF32, before.values());
      InDeviceMemory<float> loss_scale(4);
      kernels::sign_loss(s, {.sites = sites,
                             .raw = raw.read_as<float>(),
                             .alpha = alpha,
                             .margin = margin,
                             .decay = decay,
                             .loss = loss.write_as<float>(),
                             .matched = matched.write_as<int32_t>(),
                             .draw = draw.write_as<float>(),
                             .weight = weight / 4,
                             .loss_scale = static_cast<const float*>(loss_scale.at())});
      s.synchronize();
      return list(std::move(loss), std::move(matched), std::move(draw));
    });
    for (size_t i = 0; i < sites.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "site " << i << ", gradient " << want_draw);
      const int64_t c = channels[i], n = static_cast<int64_t>(i);
      const reference::SignLossResult expected = reference::sign_loss(
          part(raw, sites[i].offset, c).values(), bits[i].values(), alpha, margin, decay);
      EXPECT_TRUE(
          close(part(out[0], n, 1), expected.loss, {.terms = static_cast<double>(2 * c) + 4}));
      EXPECT_EQ(out[1][n], static_cast<double>(expected.matched));
      if (!want_draw) continue;
      Sums draw(2 * c);  // the shifts' half is only added to, with nothing
      for (int64_t k = 0; k < c; ++k)
        draw.add(k, weight * expected.draw.value[static_cast<size_t>(k)],
                 weight * expected.draw.magnitude[static_cast<size_t>(k)]);
      draw += part(before, sites[i].offset, 2 * c).values();
      EXPECT_TRUE(close(part(out[2], sites[i].offset, 2 * c), draw, {.terms = 5}, {2, c}));
    }
  }
}

TEST(SignLossWorkedValues, FiveChannels) {
  const Buffer raw(DType::kF32, {.5, -.2, .05, -.05, 0, 9, 9, 9, 9, 9}),
      bits(DType::kI8, {1, 1, 1, -1, -1});
  const kernels::SignSite site{.channels = 5, .offset = 0, .bits = bits.read_as<int8_t>().data()};
  Buffer loss(DType::kF32, 1), matched(DType::kI32, 1), draw(DType::kF32, std::vector<double>(10));
  kernels::sign_loss(stream(), {.sites = {&site, 1},
                                .raw = raw.read_as<float>(),
                                .alpha = 0.1f,
                                .margin = 0.1f,
                                .decay = 1e-5f,
                                .loss = loss.write_as<float>(),
                                .matched = matched.write_as<int32_t>(),
                                .draw = draw.write_as<float>()});
  EXPECT_FLOAT_EQ(loss.read_as<float>()[0], 0.05000295f);
  EXPECT_EQ(matched[0], 3);
  const std::array<float, 10> expected{1e-5f, -.100004f, -.099999f, .099999f, .1f, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < 10; ++i) EXPECT_FLOAT_EQ(draw.read_as<float>()[i], expected[i]);
}

/// Zeroed weights give g = 0: nothing is detected, and every channel costs alpha * margin.
TEST(SignLossWorkedValues, EverythingPruned) {
  const Buffer raw(DType::kF32, std::vector<double>(32)),
      bits(DType::kI8, std::vector<double>(16, -1));
  const kernels::SignSite site{.channels = 16, .offset = 0, .bits = bits.read_as<int8_t>().data()};
  Buffer loss(DType::kF32, 1), matched(DType::kI32, 1);
  kernels::sign_loss(stream(), {.sites = {&site, 1},
                                .raw = raw.read_as<float>(),
                                .alpha = 0.1f,
                                .margin = 0.1f,
                                .decay = 1e-5f,
                                .loss = loss.write_as<float>(),
                                .matched = matched.write_as<int32_t>(),
                                .draw = {}});
  EXPECT_FLOAT_EQ(loss.read_as<float>()[0], 0.16f);
  EXPECT_EQ(matched[0], 0);
}

}  // namespace
}  // namespace passnorm::test
