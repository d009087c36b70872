// Keys that are learned: their gradients, their distance from the genuine ones, noise and flips.
#include "verify/attacks/learned_keys.hpp"

#include <cmath>
#include <numeric>

#include "engine/ops/ops.hpp"
#include "tests/support/files.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"
#include "verify/attacks/fake_keys.hpp"

namespace passnorm::verify {
namespace {

using test::network_stream;

std::unique_ptr<Model> network(const char* scheme = "pan", const char* sites = "last") {
  return models::make("tiny", {.plan = PassportPlan::of(scheme, sites)}, network_stream());
}

Passport owner(const Model& model) {
  return Passport::random(model.sites(), test::secret(1), Signature::from_text("owner"));
}

/// Of one site with keys of four numbers.
Passport four_numbers(std::vector<float> scale, std::vector<float> shift) {
  const Site site{.name = "s", .geometry = {.n = 1, .h = 2, .w = 2, .c = 1, .o = 1}};
  SitePassport p{site,
                 SecretVector<float>(scale.begin(), scale.end()),
                 SecretVector<float>(shift.begin(), shift.end()),
                 {1}};
  return Passport::from_keys({p}, Passport::Source::kGiven, {Signature::Kind::kFree, ""});
}

/// Worked by hand: mse .015, 1 / mse 66.67, gradient (-2 / (4 .015^2)) (p - t), its norm 544.33;
/// clipped to 2, weight decay 5e-4, rate .01.
TEST(LearnedKeys, AStepAwayFromTheGenuineKey) {
  const auto stream = network_stream();
  const std::vector<float> genuine{1, 2, 3, 4}, start{1.1f, 1.9f, 3.2f, 4};
  for (const bool of_shift : {false, true}) {
    // The other key is so far that it counts for nothing: 1 / mse = 1e-8, gradient below 1e-12.
    const std::vector<float> far{1e4f, 1e4f, 1e4f, 1e4f}, zero(4);
    LearnedKeys keys(*stream, of_shift ? four_numbers(far, start) : four_numbers(start, far),
                     of_shift ? four_numbers(zero, genuine) : four_numbers(genuine, zero));
    train::Optimizer optimizer(*stream, keys.parameters(),
                               {.lr = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f});
    Tape tape(*stream);
    keys.parameters().begin_gradients();
    // Differences of numbers up to 4 in f32 are off by 2^-23: of .1, by 1.2e-6 of it.
    EXPECT_NEAR(keys.inverse_distances(tape), 66.6666667, 66.7 * 5e-6);
    tape.backward();
    const std::vector<float> both =
        keys.parameters().find("s")->var.gradient->value.to_host(*stream);
    const auto gradient = both.begin() + (of_shift ? 4 : 0);
    const double expected[] = {-222.2222, 222.2222, -444.4444, 0};
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(gradient[i], expected[i], 5e-3) << i;
    EXPECT_NEAR(optimizer.step(1, 2).gradient_norm, 544.3310540, 5e-3);
    const Passport after = keys.passport();
    const auto& key = of_shift ? after.sites()[0].shift_key : after.sites()[0].scale_key;
    const double updated[] = {1.1081594658, 1.8918255342, 3.2163139316, 3.99998};
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(key[i], updated[i], 5e-7) << i;
    const LearnedKeys::Distance d = keys.distances()[of_shift ? 0 : 1];
    EXPECT_NEAR(d.mse, .017547976, 1e-6);
    EXPECT_GT(d.cosine, 0.998);
    EXPECT_LT(d.cosine, 1);
  }
}

TEST(LearnedKeys, TheGenuineKeyIsInfinitelyNear) {
  const auto stream = network_stream();
  const Passport p = four_numbers({1, 2, 3, 4}, {1, 1, 1, 1});
  LearnedKeys keys(*stream, p, p);
  Tape tape(*stream);
  EXPECT_CONTAINS(test::refusal(Fault::kNumerics, [&] { keys.inverse_distances(tape); }), "of s");
}

TEST(LearnedKeys, StartAsGivenInFileOrder) {
  const auto model = network("pan", "all");
  const Passport genuine = owner(*model), start = with_noise(genuine, {.deviation = 0.5}, 3);
  const LearnedKeys keys(*network_stream(), start, genuine);
  const Passport back = keys.passport();
  for (size_t i = 0; i < start.sites().size(); ++i) {
    EXPECT_EQ(back.sites()[i].scale_key, start.sites()[i].scale_key);
    EXPECT_EQ(back.sites()[i].shift_key, start.sites()[i].shift_key);
    EXPECT_EQ(back.sites()[i].bits, start.sites()[i].bits);
  }
  EXPECT_FALSE(back.bits_bound());
  // What they read is what the passport reads.
  Tape tape(*network_stream(), Tape::Mode::kForwardOnly);
  EXPECT_EQ(model->read(tape, keys.open(tape)).value.to_host(*network_stream()),
            model->read(tape, model->open(start)).value.to_host(*network_stream()));
}

/// Through digest, reading, sign loss and distance, against difference quotients.
TEST(LearnedKeys, GradientsAreDifferenceQuotients) {
  Stream& stream = *network_stream();
  const std::vector<Site> sites{
      {.name = "a",
       .geometry =
           {.n = 1, .h = 4, .w = 3, .c = 2, .o = 5, .kh = 3, .kw = 3, .stride = 1, .pad = 1}},
      {.name = "b",
       .geometry = {.n = 1, .h = 3, .w = 2, .c = 3, .o = 4, .kh = 1, .kw = 1, .stride = 2}}};
  const Passport genuine = Passport::random(sites, test::secret(1), Signature::from_text("owner"));
  LearnedKeys keys(stream, with_noise(genuine, {.deviation = 0.5}, 3), genuine);
  const std::vector<Var> weights{test::leaf(stream, {5, 3, 3, 2}, 1),
                                 test::leaf(stream, {4, 1, 1, 3}, 2)};
  const ops::SignLossOptions options{.alpha = 0.7f, .margin = 0.1f, .decay = 0.3f};
  std::vector<test::Leaf> leaves;
  for (const Parameter& p : keys.parameters().parameters()) leaves.push_back({p.spec.name, p.var});
  test::check_gradients(
      stream, leaves,
      [&](test::Evaluation& e) {
        const OpenPassport open = keys.open(e.tape);
        std::vector<ops::ReadSite> reads;
        for (size_t i = 0; i < 2; ++i)
          reads.push_back({{weights[i].value, {}, nullptr}, {}, open.digest(i)});
        const Var raw = ops::passport_read(e.tape, reads);
        e.loss(ops::sign_loss(e.tape, raw, {5, 4}, open.bits(), options).loss);
        e.sum(raw);
        const double distance = keys.inverse_distances(e.tape);
        e.terms.push_back({distance, distance});
        const std::vector<float> scales = raw.value.to_host(stream);
        const std::vector<int8_t> bits = open.bits().to_host<int8_t>(stream);
        for (size_t c = 0; c < 9; ++c)  // raw: per site scales, then shifts
          e.sides.push_back(scales[c < 5 ? c : c + 5] * static_cast<float>(bits[c]) <
                            options.margin);
      },
      {.roundings = 30});
}

double mean_square(std::span<const float> v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * double{x};
  return sum / static_cast<double>(v.size());
}

TEST(ForgedKeys, NoiseAroundTheGenuineOnesOrZero) {
  const auto model = network();
  const Passport genuine = owner(*model);
  const auto difference = [&](const Passport& p, size_t site, bool scale) {
    const auto& a = scale ? p.sites()[site].scale_key : p.sites()[site].shift_key;
    const auto& b = scale ? genuine.sites()[site].scale_key : genuine.sites()[site].shift_key;
    std::vector<float> d(a.size());
    for (size_t i = 0; i < d.size(); ++i) d[i] = a[i] - b[i];
    return d;
  };
  const Passport near = with_noise(genuine, {.deviation = 0.01}, 1),
                 one = with_noise(genuine, {.deviation = 0.01, .one_for_both = true}, 1),
                 zero = with_noise(genuine, {.near = false, .deviation = 1}, 1),
                 other = with_noise(genuine, {.deviation = 0.01}, 2);
  for (size_t site = 0; site < 2; ++site) {
    // Relative standard deviation of a mean square of n normal numbers: sqrt(2 / n).
    const auto n = static_cast<double>(model->sites()[site].key_size());
    const double limit = 5 * std::sqrt(2 / n);
    for (const bool scale : {true, false}) {
      EXPECT_NEAR(mean_square(difference(near, site, scale)) / 1e-4, 1, limit);
      EXPECT_NE(difference(near, site, scale), difference(other, site, scale));
    }
    EXPECT_NEAR(mean_square(zero.sites()[site].scale_key), 1, limit);
    const auto a = difference(one, site, true), b = difference(one, site, false);
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 0x1p-22);
    EXPECT_GT(mean_square(difference(near, site, true)), 0);
    EXPECT_NE(difference(near, site, true), difference(near, site, false));
  }
  const Passport again = with_noise(genuine, {.deviation = 0.01}, 1);
  EXPECT_EQ(again.sites()[0].scale_key, near.sites()[0].scale_key);
}

/// int(C f): 128 channels of a site.
TEST(ForgedKeys, FlipsAShareOfEachSitesBits) {
  const auto model = network();
  const Passport genuine = owner(*model);
  const struct {
    double share;
    size_t flips;
  } rows[] = {{0, 0}, {0.1, 12}, {0.2, 25}, {0.3, 38}, {0.5, 64}, {1, 128}};
  for (const auto& row : rows) {
    const auto bits = flipped_bits(genuine, row.share, 7);
    ASSERT_EQ(bits.size(), 2u);
    std::array<std::vector<size_t>, 2> places;
    for (size_t s = 0; s < 2; ++s) {
      const auto& is = genuine.sites()[s].bits;
      for (size_t c = 0; c < is.size(); ++c) {
        ASSERT_EQ(std::abs(bits[s][c]), 1);
        if (bits[s][c] != is[c]) places[s].push_back(c);
      }
      EXPECT_EQ(places[s].size(), row.flips);
    }
    EXPECT_EQ(flipped_bits(genuine, row.share, 7), bits);
    if (row.flips == 0 || row.flips == 128) continue;
    EXPECT_NE(places[0], places[1]) << "every site has its own places";
    EXPECT_NE(flipped_bits(genuine, row.share, 8), bits);
    EXPECT_GT(places[0].back() - places[0].front(), row.flips) << "not the first ones";
  }
}

/// Through PointNet's feature transform what regularises it reaches the keys of the layer before:
/// in a pass of the network, and never in a forger's step, whatever form it has.
TEST(KeyStep, DoesNotRegularise) {
  constexpr int64_t kClouds = 8, kPoints = 16;
  const train::Dataset data =
      train::synthetic3d({.train = kClouds, .points = kPoints}, train::Split::kTrain);
  std::vector<int64_t> index(kClouds);
  std::iota(index.begin(), index.end(), 0);
  std::array<std::vector<float>, 2> regularised, forged;
  for (const bool times_gram : {false, true}) {
    const auto model =
        models::make("pointnet",
                     {.classes = data.classes,
                      .plan = PassportPlan::of("pan", "convp1"),
                      .points = kPoints,
                      .orthogonality = times_gram ? kernels::OrthogonalityForm::kTimesGram
                                                  : kernels::OrthogonalityForm::kGram},
                     network_stream());
    Stream& stream = model->stream();
    model->parameters().train_only(stream, [](const TensorSpec&) { return false; });
    const Passport genuine = owner(*model);
    LearnedKeys keys(stream, with_noise(genuine, {.deviation = 0.5}, 3), genuine);
    const train::Batch batch = train::DeviceDataset(stream, data).batch(index);
    {
      Tape tape(stream);
      keys.parameters().begin_gradients();
      const OpenPassport open = keys.open(tape);
      Pass pass{.tape = tape, .passport = &open, .raw = {}, .used = {}};
      const Var logits = model->forward(pass, {batch.x, Lanes::only(Branch::kPassport), nullptr});
      ops::cross_entropy(tape, logits, batch.labels);
      tape.backward();
      keys.parameters().finish_gradients(stream);
    }
    regularised[times_gram] = keys.parameters().gradients().to_host(stream);
    train::Optimizer optimizer(stream, keys.parameters(), {});
    key_step(*model, keys, batch, {.distance = false, .signs = false}, optimizer, 0);
    forged[times_gram] = keys.parameters().gradients().to_host(stream);
  }
  EXPECT_NE(regularised[0], regularised[1]);
  EXPECT_EQ(forged[0], forged[1]);
  EXPECT_TRUE(std::ranges::any_of(forged[0], [](float g) { return g != 0; }));
}

/// One tensor gets the updates of both keys; weights are frozen, statistics drift.
TEST(TrainKeys, ChangesKeysOnly) {
  const train::Dataset data = train::synthetic({.train = 16, .test = 4}, train::Split::kTrain);
  const train::FitOptions options{
      .epochs = 1, .batch = 16, .optimizer = {.lr = 10, .weight_decay = 0}};
  const Passport genuine = owner(*network());
  const Passport start =
      with_noise(genuine, {.near = false, .deviation = 1, .one_for_both = true}, 1);
  std::array<std::vector<SitePassport>, 2> after;
  for (const bool one : {false, true}) {
    const auto model = network();
    LearnedKeys keys(model->stream(), start, genuine);
    const auto weights = model->parameters().weights().to_host(model->stream());
    const auto statistics = model->parameters().buffer_arena().to_host(model->stream());
    int64_t steps = 0;
    train_keys(*model, keys, data, options,
               {.loss = {.distance = false, .signs = false},
                .one_tensor = one,
                .step = [&](int64_t, int64_t, int64_t) { ++steps; }});
    EXPECT_EQ(steps, 1);
    EXPECT_EQ(model->parameters().weights().to_host(model->stream()), weights);
    for (const Parameter& p : model->parameters().parameters())
      EXPECT_FALSE(p.var.gradient) << p.spec.name;
    EXPECT_NE(model->parameters().buffer_arena().to_host(model->stream()), statistics);
    after[one] = keys.passport().sites();
  }
  for (size_t site = 0; site < 2; ++site) {
    const auto& [name, scale, shift, bits] = after[0][site];
    const SitePassport &both = after[1][site], &was = start.sites()[site];
    EXPECT_EQ(both.scale_key, both.shift_key);
    double moved = 0;
    for (size_t i = 0; i < scale.size(); ++i) {
      // Three sums of numbers below 8.
      ASSERT_NEAR(both.scale_key[i], scale[i] + shift[i] - was.scale_key[i], 0x1p-19);
      moved = std::max(moved, std::abs(double{both.scale_key[i]} - double{was.scale_key[i]}));
    }
    EXPECT_GT(moved, 0x1p-14) << "too little to see";
    EXPECT_NE(scale, shift);
  }
}

}  // namespace
}  // namespace passnorm::verify
