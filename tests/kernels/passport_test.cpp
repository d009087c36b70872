#include "kernels/passport.hpp"

#include "tests/kernels/passport_sites.hpp"
#include "tests/reference/passport.hpp"
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
