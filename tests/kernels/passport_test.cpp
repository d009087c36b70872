#include "kernels/passport.hpp"

#include "tests/reference/passport.hpp"
#include "tests/support/device_value.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using kernels::ConvGeometry;
using reference::Sums;

struct Site {
  const char* name;
  ConvGeometry g;
};
void PrintTo(const Site& s, std::ostream* out) { *out << s.name; }

class PassportDigest : public testing::TestWithParam<Site> {
 protected:
  const ConvGeometry& g() const { return GetParam().g; }
  reference::Conv conv() const {
    return {1, g().h, g().w, g().c, g().o, g().kh, g().kw, g().stride, g().pad};
  }
  int64_t key_size() const { return g().h * g().w * g().c; }
  double positions() const { return static_cast<double>(g().oh() * g().ow()); }
};

TEST_P(PassportDigest, IsTheMeanWindow) {
  const Buffer key(DType::kF32, uniform(key_size(), 1));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer digest(DType::kF32, g().window());
    kernels::passport_digest(
        s, {.geometry = g(), .key = key.read_as<float>(), .digest = digest.write_as<float>()});
    return list(std::move(digest));
  });
  EXPECT_TRUE(close(out[0], reference::digest(conv(), key.values()), {.terms = positions() + 2},
                    {g().kh, g().kw, g().c}));
}

TEST_P(PassportDigest, BackwardIsTheAdjoint) {
  const Buffer ddigest(DType::kF32, uniform(g().window(), 2));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer dkey(DType::kF32, key_size());
    kernels::passport_digest_backward(
        s, {.geometry = g(), .ddigest = ddigest.read_as<float>(), .dkey = dkey.write_as<float>()});
    return list(std::move(dkey));
  });
  EXPECT_TRUE(close(out[0], reference::digest_backward(conv(), ddigest.values()),
                    {.terms = static_cast<double>(g().kh * g().kw) + 2}, {g().h, g().w, g().c}));
}

/// g = W m is the mean over positions of conv(key, W): the identity that the whole project stands
/// on.
TEST_P(PassportDigest, GivesTheMeanOfTheConvolution) {
  const Buffer key(DType::kF32, uniform(key_size(), 1)), w(DType::kF32, uniform(g().w_size(), 3));
  Buffer m(DType::kF32, std::vector<double>(static_cast<size_t>(2 * g().window()))),
      raw(DType::kF32, 2 * g().o);
  kernels::passport_digest(
      stream(), {.geometry = g(),
                 .key = key.read_as<float>(),
                 .digest = m.write_as<float>().first(static_cast<size_t>(g().window()))});
  const kernels::PassportSite site{.channels = g().o,
                                   .window = g().window(),
                                   .w = w.read_as<float>().data(),
                                   .m = m.read_as<float>().data()};
  kernels::passport_read(stream(), {.sites = {&site, 1}, .raw = raw.write_as<float>()});
  const std::vector<double> mean =
      reference::raw_scale_by_convolution(conv(), key.values(), w.values());
  const Sums absolute = reference::conv_forward(conv(), key.values(), w.values(), {});
  Sums expected(2 * g().o);
  for (int64_t o = 0; o < g().o; ++o)
    expected.value[static_cast<size_t>(o)] = mean[static_cast<size_t>(o)];
  for (size_t i = 0; i < absolute.magnitude.size(); ++i)
    expected.magnitude[i % static_cast<size_t>(g().o)] += absolute.magnitude[i] / positions();
  EXPECT_TRUE(close(raw, expected, {.terms = positions() + static_cast<double>(g().window()) + 2}));
}

INSTANTIATE_TEST_SUITE_P(Sites, PassportDigest,
                         testing::Values(Site{"one", {1, 1, 1, 1, 1, 1, 1, 1, 0}},
                                         Site{"k3_pad1", {1, 5, 7, 31, 4, 3, 3, 1, 1}},
                                         Site{"k3_pad1_stride2", {1, 8, 8, 33, 5, 3, 3, 2, 1}},
                                         Site{"k3_stride2_odd", {1, 7, 9, 3, 2, 3, 3, 2, 1}},
                                         Site{"k5_pad2", {1, 16, 16, 3, 8, 5, 5, 1, 2}},
                                         Site{"k1_stride2", {1, 8, 6, 32, 16, 1, 1, 2, 0}},
                                         Site{"k11_stride4_pad2", {1, 23, 23, 3, 2, 11, 11, 4, 2}},
                                         Site{"image_smaller_than_kernel",
                                              {1, 2, 2, 6, 3, 5, 5, 1, 2}},
                                         Site{"rows_over", {1, 9, 10, 4, 3, 2, 2, 3, 0}},
                                         Site{"linear", {1, 1, 1, 129, 10, 1, 1, 1, 0}},
                                         Site{"points", {1, 1, 1024, 3, 64, 1, 1, 1, 0}},
                                         Site{"alexnet4", {1, 8, 8, 192, 16, 3, 3, 1, 1}}),
                         testing::PrintToStringParamName());

TEST(PassportWorkedValues, MeanOfConvolution) {
  const ConvGeometry g{1, 3, 3, 1, 3, 3, 3, 1, 1};
  const Buffer key(DType::kF32, {.1, .2, .3, .4, .5, .6, .7, .8, .9});
  const Buffer w(DType::kF32, {1, 0, -1, 2, 0, -2, 1, 0, -1, 0, 1, 0, 1, -4,
                               1, 0, 1,  0, 1, 1,  1, 1, 1,  1, 1, 1, 1});
  Buffer digest(DType::kF32, 9);
  kernels::passport_digest(
      stream(), {.geometry = g, .key = key.read_as<float>(), .digest = digest.write_as<float>()});
  const std::array<double, 9> window_sums{1.2, 2.1, 1.6, 2.7, 4.5, 3.3, 2.4, 3.9, 2.8};
  for (size_t i = 0; i < 9; ++i)
    EXPECT_FLOAT_EQ(digest.read_as<float>()[i], static_cast<float>(window_sums[i] / 9));
  std::vector<double> both = digest.values();
  both.resize(18);
  const Buffer m(DType::kF32, both);
  Buffer raw(DType::kF32, 6);
  const kernels::PassportSite site{
      .channels = 3, .window = 9, .w = w.read_as<float>().data(), .m = m.read_as<float>().data()};
  kernels::passport_read(stream(), {.sites = {&site, 1}, .raw = raw.write_as<float>()});
  Sums expected(6);
  const std::array<double, 3> scales{-2.0 / 9, -2.0 / 3, 24.5 / 9};
  for (int64_t o = 0; o < 3; ++o)
    for (int64_t j = 0; j < 9; ++j)
      expected.add(o, j == 0 ? scales[static_cast<size_t>(o)] : 0, std::abs(w[o * 9 + j] * m[j]));
  EXPECT_TRUE(close(raw, expected, {.terms = 9 + 9 + 2}));
}

TEST(PassportWorkedValues, StridedPointwise) {
  const ConvGeometry g{1, 4, 4, 1, 1, 1, 1, 2, 0};
  std::vector<double> values(16);
  for (size_t i = 0; i < 16; ++i) values[i] = static_cast<double>(i) / 10;
  const Buffer key(DType::kF32, values);
  Buffer digest(DType::kF32, 1);
  kernels::passport_digest(
      stream(), {.geometry = g, .key = key.read_as<float>(), .digest = digest.write_as<float>()});
  EXPECT_FLOAT_EQ(2 * digest.read_as<float>()[0], 1.0f);
}

/// With a 1x1 kernel and stride 1 only the means of the channels count: where a pixel stands does
/// not.
TEST(PassportWorkedValues, PointwiseDigestIgnoresPositions) {
  const ConvGeometry g{1, 4, 5, 7, 1, 1, 1, 1, 0};
  const std::vector<double> key = uniform(4 * 5 * 7, 1);
  std::vector<double> rotated(key.size());
  for (size_t i = 0; i < key.size(); ++i) rotated[(i + 7 * 3) % key.size()] = key[i];
  const Buffer a(DType::kF32, key), b(DType::kF32, rotated);
  Buffer da(DType::kF32, 7), db(DType::kF32, 7);
  kernels::passport_digest(
      stream(), {.geometry = g, .key = a.read_as<float>(), .digest = da.write_as<float>()});
  kernels::passport_digest(
      stream(), {.geometry = g, .key = b.read_as<float>(), .digest = db.write_as<float>()});
  const Sums expected = reference::digest({1, 4, 5, 7, 1, 1, 1, 1, 0}, a.values());
  EXPECT_TRUE(close(da, expected, {.terms = 22}));
  EXPECT_TRUE(close(db, expected, {.terms = 22}));
}

/// A group of sites: their data, and where they stand in the raw vector (not in order, with a gap
/// between).
struct Group {
  struct Size {
    int64_t o, k;
    bool bias;
  };
  std::vector<Size> sizes;
  std::vector<Buffer> w, bias, m;
  std::vector<kernels::PassportSite> sites;
  int64_t total = 0;
  static constexpr int64_t kGap = 3;

  explicit Group(std::vector<Size> s) : sizes(std::move(s)), sites(sizes.size()) {
    for (uint32_t i = 0; i < sizes.size(); ++i) {
      w.emplace_back(DType::kF32, uniform(sizes[i].o * sizes[i].k, 10 + i));
      bias.emplace_back(DType::kF32, uniform(sizes[i].bias ? sizes[i].o : 0, 20 + i));
      m.emplace_back(DType::kF32, uniform(2 * sizes[i].k, 30 + i));
    }
    for (size_t i = sizes.size(); i-- > 0;) {
      sites[i] = {.channels = sizes[i].o,
                  .window = sizes[i].k,
                  .w = w[i].read_as<float>().data(),
                  .bias = bias[i].read_as<float>().data(),
                  .m = m[i].read_as<float>().data(),
                  .offset = total};
      total += 2 * sizes[i].o + kGap;
    }
  }
};
std::vector<Group::Size> some_sites() {
  return {{1, 1, false},   {31, 33, true},    {64, 27, false},
          {40, 256, true}, {33, 1153, false}, {128, 576, false}};
}

/// More than a launch has room for.
std::vector<Group::Size> many_sites() {
  std::vector<Group::Size> sizes;
  for (int64_t i = 0; i < 80; ++i) sizes.push_back({1 + i % 7, 1 + i % 9, i % 3 == 0});
  return sizes;
}

/// Part [begin, begin + n) of a buffer, as a buffer.
Buffer part(const Buffer& all, int64_t begin, int64_t n) {
  const std::vector<double> v = all.values();
  return Buffer(all.dtype(), std::vector<double>(v.begin() + begin, v.begin() + begin + n));
}

class PassportRead : public testing::TestWithParam<bool> {};
TEST_P(PassportRead, GroupOfSites) {
  const Group group(GetParam() ? many_sites() : some_sites());
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer raw(DType::kF32, group.total);
    kernels::passport_read(s, {.sites = group.sites, .raw = raw.write_as<float>()});
    return list(std::move(raw));
  });
  for (size_t i = 0; i < group.sites.size(); ++i) {
    const auto [o, k, with_bias] = group.sizes[i];
    EXPECT_TRUE(close(part(out[0], group.sites[i].offset, 2 * o),
                      reference::passport_read(o, k, group.w[i].values(), group.bias[i].values(),
                                               group.m[i].values()),
                      {.terms = static_cast<double>(k) + 1}, {2, o}))
        << "site " << i;
    for (int64_t gap = 0; gap < Group::kGap; ++gap)
      EXPECT_TRUE(std::isnan(out[0][group.sites[i].offset + 2 * o + gap]))
          << "written behind site " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Many, PassportRead, testing::Bool());

TEST(PassportReadOfNothing, NoSites) { kernels::passport_read(stream(), {}); }

/// What of the gradients is wanted: everything; no digests (training); weights of every second site
/// only; everything of many sites.
enum class Wanted { kAll, kNoDigests, kAlternating, kOfMany };
void PrintTo(Wanted w, std::ostream* out) {
  *out << (w == Wanted::kAll           ? "all"
           : w == Wanted::kNoDigests   ? "no_digests"
           : w == Wanted::kAlternating ? "alternating"
                                       : "of_many");
}
class PassportReadBackward : public testing::TestWithParam<Wanted> {};
TEST_P(PassportReadBackward, RankTwo) {
  const bool want_dm = GetParam() != Wanted::kNoDigests,
             every_second = GetParam() == Wanted::kAlternating;
  const Group group(GetParam() == Wanted::kOfMany ? many_sites() : some_sites());
  const Buffer draw(DType::kF32, uniform(group.total, 1));
  const size_t n = group.sites.size();
  const auto out = on_every_stream([&](TestStream& s) {
    std::vector<Buffer> all(3 * n);
    std::vector<float*> dw(n), dbias(n), dm(n);
    for (uint32_t i = 0; i < n; ++i) {
      const auto [o, k, with_bias] = group.sizes[i];
      if (!every_second || i % 2 == 0) {
        all[3 * i] = Buffer(DType::kF32, uniform(o * k, 40 + i));
        dw[i] = all[3 * i].write_as<float>().data();
      }
      if (with_bias) {
        all[3 * i + 1] = Buffer(DType::kF32, uniform(o, 50 + i));
        dbias[i] = all[3 * i + 1].write_as<float>().data();
      }
      if (want_dm && (!every_second || i % 2 == 1)) {
        all[3 * i + 2] = Buffer(DType::kF32, 2 * k);
        dm[i] = all[3 * i + 2].write_as<float>().data();
      }
    }
    kernels::passport_read_backward(
        s, {.sites = group.sites,
            .draw = draw.read_as<float>(),
            .dw = dw,
            .dbias = dbias,
            .dm = want_dm ? std::span<float* const>(dm) : std::span<float* const>()});
    return all;
  });
  for (uint32_t i = 0; i < n; ++i) {
    SCOPED_TRACE(testing::Message() << "site " << i);
    const auto [o, k, with_bias] = group.sizes[i];
    reference::ReadGradients expected =
        reference::passport_read_backward(o, k, group.w[i].values(), group.m[i].values(),
                                          part(draw, group.sites[i].offset, 2 * o).values());
    if (out[3 * i].size()) {
      expected.dw += Buffer(DType::kF32, uniform(o * k, 40 + i)).values();
      EXPECT_TRUE(close(out[3 * i], expected.dw, {.terms = 3}, {o, k}));
    }
    if (with_bias) {
      expected.dbias += Buffer(DType::kF32, uniform(o, 50 + i)).values();
      EXPECT_TRUE(close(out[3 * i + 1], expected.dbias, {.terms = 3}));
    }
    if (out[3 * i + 2].size()) {
      EXPECT_TRUE(close(out[3 * i + 2], expected.dm, {.terms = static_cast<double>(o)}, {2, k}));
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Gradients, PassportReadBackward,
                         testing::Values(Wanted::kAll, Wanted::kNoDigests, Wanted::kAlternating,
                                         Wanted::kOfMany),
                         testing::PrintToStringParamName());

/// Gates of several sites.
struct Gates {
  std::vector<std::array<int64_t, 2>> sizes{
      {4, 1}, {33, 8}, {64, 16}, {40, 10}, {512, 128}};  // C, hidden
  std::vector<Buffer> a1, a2;
  std::vector<kernels::GateSite> sites;
  int64_t total = 0, hidden_total = 0;

  Gates() {
    for (uint32_t i = 0; i < sizes.size(); ++i) {
      const auto [c, h] = sizes[i];
      a1.emplace_back(DType::kF32, uniform(h * c, 10 + i));
      a2.emplace_back(DType::kF32, uniform(c * h, 20 + i));
      sites.push_back({.channels = c,
                       .hidden = h,
                       .a1 = a1[i].read_as<float>().data(),
                       .a2 = a2[i].read_as<float>().data(),
                       .offset = total,
                       .hidden_offset = hidden_total});
      total += 2 * c;
      hidden_total += 2 * h;
    }
  }
};

TEST(Gate, Forward) {
  const Gates gates;
  const Buffer raw(DType::kF32, uniform(gates.total, 1));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer hidden(DType::kF32, gates.hidden_total), used(DType::kF32, gates.total);
    kernels::gate(s, {.sites = gates.sites,
                      .raw = raw.read_as<float>(),
                      .hidden = hidden.write_as<float>(),
                      .used = used.write_as<float>()});
    return list(std::move(hidden), std::move(used));
  });
  for (size_t i = 0; i < gates.sites.size(); ++i) {
    const auto [c, h] = gates.sizes[i];
    const auto& site = gates.sites[i];
    const reference::GateResult expected = reference::gate(
        c, h, gates.a1[i].values(), gates.a2[i].values(), part(raw, site.offset, 2 * c).values());
    EXPECT_TRUE(close(part(out[0], site.hidden_offset, 2 * h), expected.hidden,
                      {.terms = static_cast<double>(c)}, {2, h}));
    EXPECT_TRUE(close(part(out[1], site.offset, 2 * c), expected.used,
                      {.terms = static_cast<double>(c + h) + 2}, {2, c}));
  }
}

TEST(Gate, Backward) {
  const Gates gates;
  const Buffer raw(DType::kF32, uniform(gates.total, 1)),
      dused(DType::kF32, uniform(gates.total, 2));
  Buffer hidden(DType::kF32, gates.hidden_total), used(DType::kF32, gates.total);
  kernels::gate(stream(), {.sites = gates.sites,
                           .raw = raw.read_as<float>(),
                           .hidden = hidden.write_as<float>(),
                           .used = used.write_as<float>()});
  const size_t n = gates.sites.size();
  for (const auto& [want_weights, want_draw] :
       std::vector<std::array<bool, 2>>{{true, true}, {false, true}, {true, false}}) {
    const auto out = on_every_stream([&](TestStream& s) {
      std::vector<Buffer> all(1 + 2 * n);
      std::vector<float*> da1(n), da2(n);
      if (want_draw) all[0] = Buffer(DType::kF32, uniform(gates.total, 3));
      const std::span<float> draw = all[0].write_as<float>();
      for (uint32_t i = 0; want_weights && i < n; ++i) {
        const auto [c, h] = gates.sizes[i];
        all[1 + 2 * i] = Buffer(DType::kF32, uniform(h * c, 40 + i));
        all[2 + 2 * i] = Buffer(DType::kF32, uniform(c * h, 50 + i));
        da1[i] = all[1 + 2 * i].write_as<float>().data();
        da2[i] = all[2 + 2 * i].write_as<float>().data();
      }
      kernels::gate_backward(s, {.sites = gates.sites,
                                 .raw = raw.read_as<float>(),
                                 .hidden = hidden.read_as<float>(),
                                 .dused = dused.read_as<float>(),
                                 .draw = draw,
                                 .da1 = da1,
                                 .da2 = da2});
      return all;
    });
    const Buffer draw_before(DType::kF32, uniform(gates.total, 3));
    for (uint32_t i = 0; i < n; ++i) {
      SCOPED_TRACE(testing::Message() << "site " << i << ", weights " << want_weights);
      const auto [c, h] = gates.sizes[i];
      const auto& site = gates.sites[i];
      reference::GateGradients expected = reference::gate_backward(
          c, h, gates.a1[i].values(), gates.a2[i].values(), part(raw, site.offset, 2 * c).values(),
          part(hidden, site.hidden_offset, 2 * h).values(),
          part(dused, site.offset, 2 * c).values());
      expected.draw += part(draw_before, site.offset, 2 * c).values();
      if (want_draw) {
        EXPECT_TRUE(close(part(out[0], site.offset, 2 * c), expected.draw,
                          {.terms = static_cast<double>(c + h) + 3}, {2, c}));
      }
      if (!want_weights) continue;
      expected.da1 += Buffer(DType::kF32, uniform(h * c, 40 + i)).values();
      expected.da2 += Buffer(DType::kF32, uniform(c * h, 50 + i)).values();
      EXPECT_TRUE(
          close(out[1 + 2 * i], expected.da1, {.terms = static_cast<double>(c) + 4}, {h, c}));
      EXPECT_TRUE(close(out[2 + 2 * i], expected.da2, {.terms = 4}, {c, h}));
    }
  }
}

/// A hidden unit below zero and one above, a gate of nothing, and positive homogeneity M(t v) = t
/// M(v).
TEST(GateWorkedValues, OneHiddenUnit) {
  const Buffer a1(DType::kF32, {.5, -1, .25, 2}), a2(DType::kF32, {1, -2, .5, 3});
  const kernels::GateSite site{.channels = 4,
                               .hidden = 1,
                               .a1 = a1.read_as<float>().data(),
                               .a2 = a2.read_as<float>().data()};
  const auto run = [&](const std::vector<double>& scale_and_shift) {
    const Buffer raw(DType::kF32, scale_and_shift);
    Buffer hidden(DType::kF32, 2), used(DType::kF32, 8);
    kernels::gate(stream(), {.sites = {&site, 1},
                             .raw = raw.read_as<float>(),
                             .hidden = hidden.write_as<float>(),
                             .used = used.write_as<float>()});
    return used;
  };
  const Buffer used = run({1, 2, -1, .5, 1, .5, 0, .5});
  const std::array<float, 8> expected{-.0075f, .015f, -.00375f, -.0225f, 1, -2, .5f, 3};
  for (size_t i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(used.read_as<float>()[i], expected[i]);
  EXPECT_TRUE(equal(run(std::vector<double>(8)), std::vector<double>(8)));
  const Buffer four = run({4, 8, -4, 2, 4, 2, 0, 2});  // a power of two: exact
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(four[i], 4 * used[i]);
}

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

TEST(PassportErrors, ArgumentsThatDoNotFit) {
  const Group group({{4, 8, false}, {3, 5, false}});
  const auto total = static_cast<size_t>(group.total);
  Buffer raw(DType::kF32, group.total), window(DType::kF32, 18);
  const std::span<float> all = raw.write_as<float>();
  EXPECT_THROW(kernels::passport_read(
                   stream(), {.sites = group.sites, .raw = all.first(total - Group::kGap - 1)}),
               Error);
  const std::vector<float*> one(1);
  EXPECT_THROW(
      kernels::passport_read_backward(stream(), {.sites = group.sites, .draw = all, .dw = one}),
      Error);
  const Gates gates;
  Buffer values(DType::kF32, gates.total), hidden(DType::kF32, gates.hidden_total);
  EXPECT_THROW(
      kernels::gate(stream(),
                    {.sites = gates.sites,
                     .raw = values.read_as<float>(),
                     .hidden = hidden.write_as<float>().first(hidden.read_as<float>().size() - 1),
                     .used = values.write_as<float>()}),
      Error);
  EXPECT_THROW(kernels::gate_backward(stream(), {.sites = gates.sites,
                                                 .raw = values.read_as<float>(),
                                                 .hidden = hidden.read_as<float>(),
                                                 .dused = values.read_as<float>(),
                                                 .draw = values.write_as<float>().first(8)}),
               Error);
  const Buffer bits(DType::kI8, std::vector<double>(4, 1));
  const kernels::SignSite site{.channels = 4, .bits = bits.read_as<int8_t>().data()};
  Buffer loss(DType::kF32, 2), matched(DType::kI32, 1);
  EXPECT_THROW(kernels::sign_loss(stream(), {.sites = {&site, 1},
                                             .raw = all,
                                             .loss = loss.write_as<float>(),
                                             .matched = matched.write_as<int32_t>()}),
               Error);
  Buffer digest(DType::kF32, 8);
  EXPECT_THROW(kernels::passport_digest(stream(), {.geometry = {1, 2, 2, 2, 1, 3, 3, 1, 0},
                                                   .key = digest.read_as<float>(),
                                                   .digest = window.write_as<float>()}),
               Error);
}

}  // namespace
}  // namespace passnorm::test
