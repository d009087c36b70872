// Forged keys: trained on the network, whose weights stay as they are, until the passport branch
// works with them. fake3 of Fan et al., DeepIPR (TPAMI 2021); the ambiguity attacks I and II of
// Zhang et al., Passport-aware Normalization (NeurIPS 2020).
#include "verify/attacks/fake_keys.hpp"

#include <cmath>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/random.hpp"
#include "models/copy.hpp"
#include "verify/attacks/learned_keys.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

std::vector<std::vector<int8_t>> bits_of(const Passport& passport) {
  std::vector<std::vector<int8_t>> bits;
  for (const SitePassport& s : passport.sites()) bits.emplace_back(s.bits.begin(), s.bits.end());
  return bits;
}

/// Glorot and Bengio (2010): N(0, 2 / (inputs + outputs)).
void renew_gates(Model& model, uint64_t seed) {
  uint32_t stream = kGateStream;
  for (const Layer& layer : model.layers()) {
    if (!layer.norm || !layer.norm->gate_in()) continue;
    for (const Parameter* p : {layer.norm->gate_in(), layer.norm->gate_out()}) {
      const Random random(seed, Purpose::kAttack, stream++);
      const float deviation =
          std::sqrt(2 / static_cast<float>(p->spec.shape[0] + p->spec.shape[1]));
      std::vector<float> w(static_cast<size_t>(p->spec.shape.size()));
      for (size_t i = 0; i < w.size(); ++i) w[i] = deviation * random.normal(i);
      p->var.value.copy_from<float>(model.stream(), w);
    }
  }
}

/// One forger: what the three attacks differ in.
struct Forgery {
  KeyNoise noise;
  KeyTraining training;
  train::FitOptions options;
  double flips = 0;              ///< share of the bits aimed at that are not the owner's
  bool new_gate = false;         ///< with a gate of the forger's own, which is not trained
  bool drift = true;             ///< running statistics are those of training, else the owner's
  bool best = false;             ///< the epoch of most bits, else the last
  bool read_bits = false;        ///< claims the bits that the keys happen to read
  bool point_per_epoch = false;  ///< else one at the end, x = flips
  std::string title = {};        ///< of progress lines
};

class Forger {
 public:
  Forger(const AttackInput& input, const AttackPoint& untouched, const Forgery& forgery)
      : input_(input),
        untouched_(untouched),
        forgery_(forgery),
        model_(models::copy_of(input.model)),
        keys_(model_->stream(),
              with_noise(input.passport, forgery.noise, input.seed)
                  .with_bits(flipped_bits(input.passport, forgery.flips, input.seed)),
              input.passport),
        genuine_buffers_(copy_of(buffers())) {
    if (forgery.new_gate) renew_gates(*model_, input.seed);
  }

  std::vector<AttackPoint> run(const train::Dataset& data) {
    KeyTraining training = forgery_.training;
    training.step = [this](int64_t epoch, int64_t step, int64_t steps) {
      report_progress(input_, concat(forgery_.title, "epoch ", epoch, "/", forgery_.options.epochs,
                                     ", step ", step, "/", steps));
    };
    std::vector<AttackPoint> points;
    training.epoch = [&](int64_t epoch) {
      if (forgery_.point_per_epoch) points.push_back(point(static_cast<double>(epoch)));
      if (forgery_.best) keep_if_best();
    };
    train_keys(*model_, keys_, data, forgery_.options, training);
    if (forgery_.best) {
      copy(best_keys_, keys_.parameters().weights());
      copy(best_buffers_, buffers());
    }
    if (!forgery_.point_per_epoch) points.push_back(point(forgery_.flips));
    return points;
  }

 private:
  const Tensor& buffers() const { return model_->parameters().buffer_arena(); }
  void copy(const Tensor& from, const Tensor& to) const {
    if (from.size() > 0)
      dispatch(model_->stream(),
               [&](auto& s) { kernels::cast(s, {.x = from.view(), .y = to.view()}); });
  }
  Tensor copy_of(const Tensor& tensor) const {
    const Tensor out = Tensor::secret(model_->stream(), tensor.shape());
    copy(tensor, out);
    return out;
  }

  void keep_if_best() {
    const double bits = share_of_bits(*model_, keys_.passport());
    if (bits <= best_bits_) return;
    best_bits_ = bits;
    best_keys_ = copy_of(keys_.parameters().weights());
    best_buffers_ = copy_of(buffers());
  }

  AttackPoint point(double x) {
    if (!forgery_.drift) copy(genuine_buffers_, buffers());  // training does not read them
    AttackPoint point = untouched_;  // the network's weights are as they were
    point.x = x;
    const Passport forged = keys_.passport();
    point.forger = measure_forger(input_, *model_,
                                  forgery_.read_bits ? with_read_bits(*model_, forged) : forged);
    double mse = 0, cosine = 0;
    const auto distances = keys_.distances();
    for (const LearnedKeys::Distance& d : distances) mse += d.mse, cosine += d.cosine;
    const auto count = static_cast<double>(distances.size());
    point.metrics = {
        {"bits aimed at", share_of_bits(*model_, forged)},
        {"bits of the owner", share_of_bits(*model_, forged.with_bits(bits_of(input_.passport)))},
        {"cosine of keys", cosine / count},
        {"mse of keys", mse / count}};
    return point;
  }

  const AttackInput& input_;
  const AttackPoint& untouched_;
  const Forgery& forgery_;
  std::unique_ptr<Model> model_;
  LearnedKeys keys_;
  Tensor genuine_buffers_;
  double best_bits_ = -1;
  Tensor best_keys_, best_buffers_;
};

/// Settings of all three.
Forgery forgery_of(const AttackInput& input, const AttackSettings& settings) {
  Forgery f{.options = fit_options(input, settings, /*weights=*/false)};
  f.noise.deviation = settings.number("noise");
  f.training.clip_norm = static_cast<float>(settings.number("clip"));
  f.drift = settings.text("statistics") == "drift";
  return f;
}

/// A forger for every share of flipped bits.
AttackResult sweep(const AttackInput& input, const std::vector<double>& flips, Forgery forgery) {
  const train::Dataset& data = training_data(input);
  const AttackPoint untouched = measure_untouched(input);
  AttackResult result{.axis = "share of bits flipped", .points = {untouched}, .stolen = nullptr};
  for (const double share : flips) {
    forgery.flips = share;
    forgery.title = concat(share, " of the bits flipped, ");
    for (AttackPoint& point : Forger(input, untouched, forgery).run(data))
      result.points.push_back(std::move(point));
  }
  return result;
}

constexpr AttackSetting kEpochs{"epochs", "3", kEpochCounts,
                                "epochs of each forger; the papers train 100"};
constexpr AttackSetting kRate{"lr", "0.01", kRates, "learning rate"};
constexpr AttackSetting kDecay{"weight-decay", "0.0005", kDecays, "weight decay of the keys"};
constexpr AttackSetting kClip{"clip", "2", number_in(1e-6, 1e6),
                              "largest norm of the keys' gradient"};
constexpr AttackSetting kStatistics{
    "statistics", "drift", one_of("drift | keep"),
    "drift: running statistics follow the training, as in the references; keep: the owner's"};

/// Of forgers who begin near the genuine keys.
constexpr AttackSetting kNearSettings[] = {
    {"flips", "0..0.5:0.1", numbers_in(0, 1),
     "shares of the bits that the forger wants other than the owner's"},
    kEpochs,
    kRate,
    kDecay,
    kClip,
    {"noise", "0.001", number_in(1e-6, 10),
     "standard deviation of what is added to the genuine keys at first"},
    kStatistics,
    {"signs", "yes", yes_or_no(),
     "no: without sign losses, as in DeepIPR's NeurIPS 2019 version and PAN's fake3-"},
    {"sign-factor", "1", number_in(1e-6, 1e6),
     "factor of the sign losses; PAN's point clouds have 1000"},
    {"best", "no", yes_or_no(),
     "yes: the epoch of most bits counts, as in PAN's program; no: the last"},
    {"one-noise", "no", yes_or_no(),
     "yes: a site's two keys get the same noise, as in PAN's program"},
};

AttackResult near_genuine(const AttackInput& input, const AttackSettings& settings, bool new_gate) {
  Forgery f = forgery_of(input, settings);
  f.training.loss.signs = settings.flag("signs");
  f.training.loss.sign_factor = static_cast<float>(settings.number("sign-factor"));
  f.noise.one_for_both = settings.flag("one-noise");
  f.best = settings.flag("best");
  f.new_gate = new_gate;
  return sweep(input, settings.numbers("flips"), std::move(f));
}

AttackResult fake3(const AttackInput& input, const AttackSettings& settings) {
  return near_genuine(input, settings, /*new_gate=*/false);
}

AttackResult ambiguity2(const AttackInput& input, const AttackSettings& settings) {
  return near_genuine(input, settings, /*new_gate=*/true);
}

constexpr AttackSetting kAmbiguity1Settings[] = {
    kEpochs,
    kRate,
    kDecay,
    kClip,
    {"noise", "1", number_in(1e-6, 10),
     "standard deviation of the keys at first; PAN's point clouds have 0.001"},
    kStatistics,
    {"one-tensor", "no", yes_or_no(), "yes: a site's two keys are one tensor, as in PAN's program"},
};

AttackResult ambiguity1(const AttackInput& input, const AttackSettings& settings) {
  Forgery f = forgery_of(input, settings);
  f.noise.near = false;
  f.noise.one_for_both = f.training.one_tensor = settings.flag("one-tensor");
  f.training.loss = {.distance = false, .signs = false};
  f.read_bits = true;
  f.point_per_epoch = true;
  const train::Dataset& data = training_data(input);
  const AttackPoint untouched = measure_untouched(input);
  AttackResult result{.axis = "epochs", .points = {untouched}, .stolen = nullptr};
  for (AttackPoint& point : Forger(input, untouched, f).run(data))
    result.points.push_back(std::move(point));
  return result;
}

}  // namespace

Passport with_noise(const Passport& genuine, const KeyNoise& noise, uint64_t seed) {
  std::vector<SitePassport> sites = genuine.sites();
  const auto deviation = static_cast<float>(noise.deviation);
  uint32_t stream = kKeyNoiseStream;
  for (SitePassport& site : sites) {
    const uint32_t of_scale = stream++, of_shift = stream++;
    for (auto* key : {&site.scale_key, &site.shift_key}) {
      const bool scale = key == &site.scale_key || noise.one_for_both;
      const Random random(seed, Purpose::kAttack, scale ? of_scale : of_shift);
      for (size_t i = 0; i < key->size(); ++i)
        (*key)[i] = (noise.near ? (*key)[i] : 0) + deviation * random.normal(i);
    }
  }
  return Passport::from_keys(std::move(sites), Passport::Source::kGiven,
                             {Signature::Kind::kFree, ""});
}

std::vector<std::vector<int8_t>> flipped_bits(const Passport& genuine, double share,
                                              uint64_t seed) {
  std::vector<std::vector<int8_t>> bits = bits_of(genuine);
  uint32_t stream = kForgedBitsStream;
  for (std::vector<int8_t>& site : bits) {
    const auto n = std::ssize(site);
    const auto flips = static_cast<int64_t>(static_cast<double>(n) * share);
    for (const int64_t i : random_choice(n, flips, seed, stream++)) {
      int8_t& bit = site[static_cast<size_t>(i)];
      bit = static_cast<int8_t>(-bit);
    }
  }
  return bits;
}

Attack fake3_attack() {
  return {.name = "fake3",
          .description = "keys trained near the genuine ones, for bits of which a share is flipped",
          .source = "Fan et al., DeepIPR (NeurIPS 2019, TPAMI 2021), attack 3",
          .settings = kNearSettings,
          .trains = true,
          .run = fake3};
}

Attack ambiguity1_attack() {
  return {.name = "ambiguity-1",
          .description = "random keys trained until the passport branch works with them",
          .source = "Zhang et al., Passport-aware Normalization (NeurIPS 2020), attack I",
          .settings = kAmbiguity1Settings,
          .trains = true,
          .run = ambiguity1};
}

Attack ambiguity2_attack() {
  return {.name = "ambiguity-2",
          .description = "keys trained near the genuine ones, with a gate of the forger's own",
          .source = "Zhang et al., Passport-aware Normalization (NeurIPS 2020), attack II",
          .settings = kNearSettings,
          .trains = true,
          .run = ambiguity2};
}

}  // namespace passnorm::verify
