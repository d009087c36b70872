#include "verify/attacks/learned_keys.hpp"

#include <cmath>

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/reduce.hpp"
#include "kernels/transform.hpp"
#include "train/batches.hpp"

namespace passnorm::verify {
namespace {

/// Two keys [C, H, W], as in files, to memory [2, H, W, C].
void load_keys(Stream& stream, SecretStaging& staging, const SitePassport& p, const Tensor& to) {
  const kernels::ConvGeometry& g = p.site.geometry;
  const Tensor file = Tensor::secret(stream, to.shape());
  file.slice(0, {p.site.key_size()}).copy_from<float>(staging, p.scale_key);
  file.slice(p.site.key_size(), {p.site.key_size()}).copy_from<float>(staging, p.shift_key);
  dispatch(stream, [&](auto& s) {
    kernels::to_channels_last(s,
                              {.b = 2, .c = g.c, .s = g.h * g.w, .x = file.span(), .y = to.span()});
  });
}

LearnedKeys::Distance distance(std::span<const float> a, std::span<const float> b) {
  double squares = 0, aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    squares += (x - y) * (x - y);
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  return {squares / static_cast<double>(a.size()), ab / std::sqrt(aa * bb)};
}

}  // namespace

LearnedKeys::LearnedKeys(Stream& stream, const Passport& start, const Passport& genuine)
    : stream_(stream), start_(start.sites()), genuine_(genuine.sites()) {
  PASSNORM_CHECK(start_.size() == genuine_.size(), start_.size(), " sites");
  SecretVector<int8_t> bits;
  for (size_t i = 0; i < start_.size(); ++i) {
    PASSNORM_CHECK(start_[i].site == genuine_[i].site, "keys of other sites");
    sites_.push_back(start_[i].site);
    const kernels::ConvGeometry& g = sites_[i].geometry;
    parameters_.add({.name = sites_[i].name, .shape = {2, g.h, g.w, g.c}, .init = {}});
    bits.insert(bits.end(), start_[i].bits.begin(), start_[i].bits.end());
  }
  parameters_.allocate(stream, std::nullopt);
  SecretStaging staging(stream,
                        2 * static_cast<size_t>(parameters_.count()) * sizeof(float) + bits.size());
  size_t i = 0;
  for (const Parameter& p : parameters_.parameters()) {
    genuine_keys_.push_back(Tensor::secret(stream, p.spec.shape));
    load_keys(stream, staging, genuine_[i], genuine_keys_[i]);
    load_keys(stream, staging, start_[i++], p.var.value);
  }
  bits_ = Tensor::secret(stream, {static_cast<int64_t>(bits.size())}, DType::kI8);
  bits_.copy_from<int8_t>(staging, bits);
}

LearnedKeys::~LearnedKeys() {
  try {
    dispatch(stream_, [&](auto& s) {
      kernels::fill(s, {.y = parameters_.weights().view()});
      kernels::fill(s, {.y = parameters_.gradients().view()});
    });
  } catch (...) {  // the device's fault was or will be reported by whoever needs a result
  }
}

OpenPassport LearnedKeys::open(Tape& tape) const {
  std::vector<Var> digests;
  for (size_t i = 0; i < sites_.size(); ++i)
    digests.push_back(
        ops::passport_digest(tape, parameters_.parameters()[i].var, sites_[i].geometry));
  return {sites_, std::move(digests), bits_};
}

double LearnedKeys::inverse_distances(Tape& tape) const {
  double total = 0;
  for (size_t i = 0; i < sites_.size(); ++i) {
    const Var& keys = parameters_.parameters()[i].var;
    const int64_t n = keys.value.size() / 2;
    const Tensor difference = Tensor::secret(stream_, keys.shape());
    dispatch(stream_, [&](auto& s) {
      kernels::cast(s, {.x = keys.value.view(), .y = difference.view()});
      kernels::add_to(s, {.x = genuine_keys_[i].view(), .y = difference.view(), .alpha = -1});
    });
    const bool wanted = tape.differentiates(keys);
    GradientSink to;
    if (wanted) to = keys.sink(stream_);
    if (wanted && !to.accumulate)
      dispatch(stream_, [&](auto& s) { kernels::fill(s, {.y = to.value.view()}); });
    for (const int64_t role : {0, 1}) {
      const Tensor part = difference.slice(role * n, {n});
      const double mse =
          dispatch(stream_, [&](auto& s) { return kernels::sum_squares(s, part.span()); }) /
          static_cast<double>(n);
      if (!(mse > 0))
        fail(Fault::kNumerics, "a key of ", sites_[i].name,
             " is the genuine one: the loss that keeps them apart is infinite");
      total += 1 / mse;
      // d (1 / mse) / d key = -2 / (n mse^2) (key - genuine key)
      const auto factor = static_cast<float>(-2 / (static_cast<double>(n) * mse * mse));
      if (wanted)
        dispatch(stream_, [&](auto& s) {
          kernels::add_to(
              s, {.x = part.view(), .y = to.value.slice(role * n, {n}).view(), .alpha = factor});
        });
    }
  }
  return total;
}

Passport LearnedKeys::passport() const {
  std::vector<SitePassport> sites = start_;
  SecretStaging staging(stream_, static_cast<size_t>(parameters_.count()) * sizeof(float));
  for (size_t i = 0; i < sites.size(); ++i) {
    const kernels::ConvGeometry& g = sites_[i].geometry;
    const Tensor& keys = parameters_.parameters()[i].var.value;
    const Tensor file = Tensor::secret(stream_, keys.shape());
    dispatch(stream_, [&](auto& s) {
      kernels::to_channels_first(
          s, {.b = 2, .c = g.c, .s = g.h * g.w, .x = keys.span(), .y = file.span()});
    });
    const auto n = static_cast<size_t>(sites_[i].key_size());
    staging.copy_to_host(sites[i].scale_key.data(), file.span().data(), n * sizeof(float));
    staging.copy_to_host(sites[i].shift_key.data(), file.span().data() + n, n * sizeof(float));
  }
  return Passport::from_keys(std::move(sites), Passport::Source::kGiven,
                             {Signature::Kind::kFree, ""});
}

void LearnedKeys::unite(const Tensor& before) {
  for (const Parameter& p : parameters_.parameters()) {
    const int64_t n = p.spec.shape.size() / 2;
    const Tensor scale = p.var.value.slice(0, {n}), shift = p.var.value.slice(n, {n});
    const int64_t at = p.var.value.span().data() - parameters_.weights().span().data();
    const Tensor was = before.slice(at, {n});
    dispatch(stream_, [&](auto& s) {
      kernels::add_to(s, {.x = shift.view(), .y = scale.view()});
      kernels::add_to(s, {.x = was.view(), .y = scale.view(), .alpha = -1});
      kernels::cast(s, {.x = scale.view(), .y = shift.view()});
    });
  }
}

std::vector<LearnedKeys::Distance> LearnedKeys::distances() const {
  std::vector<Distance> out;
  const Passport now = passport();
  for (size_t i = 0; i < genuine_.size(); ++i) {
    const SitePassport& p = now.sites()[i];
    out.push_back(distance(p.shift_key, genuine_[i].shift_key));
    out.push_back(distance(p.scale_key, genuine_[i].scale_key));
  }
  return out;
}

KeyStep key_step(Model& model, LearnedKeys& keys, const train::Batch& batch, const KeyLoss& loss,
                 train::Optimizer& optimizer, float clip_norm,
                 const std::optional<DropoutMasks>& dropout) {
  Stream& stream = model.stream();
  KeyStep step;
  Tape tape(stream);
  keys.parameters().begin_gradients();
  // The sums that the host waits for come first, while the device has nothing else to do.
  if (loss.distance) step.inverse_distances = keys.inverse_distances(tape);
  const OpenPassport passport = keys.open(tape);
  Pass pass{.tape = tape,
            .mode = Mode::kTrain,
            .passport = &passport,
            .dropout = dropout,
            .regularise = false};
  const Var logits = model.forward(pass, {batch.x, Lanes::only(Branch::kPassport), nullptr});
  const ops::LaneLosses losses = ops::cross_entropy(tape, logits, batch.labels);
  ops::SignLosses signs;
  if (loss.signs) {
    ops::SignLossOptions options;
    options.alpha *= loss.sign_factor;
    options.decay *= loss.sign_factor;
    signs = ops::sign_loss(tape, pass.raw, model.site_channels(), passport.bits(), options);
  }
  tape.backward();
  keys.parameters().finish_gradients(stream);
  const train::Optimizer::Report report = optimizer.step(1, clip_norm);
  step.gradient_norm = report.gradient_norm;

  step.cross_entropy = static_cast<double>(losses.loss.to_host(stream)[0]);
  if (signs.loss) {
    const std::vector<float> values = signs.loss.to_host(stream);
    const std::vector<int32_t> matched = signs.matched.to_host<int32_t>(stream);
    for (size_t i = 0; i < values.size(); ++i) {
      step.sign_loss += static_cast<double>(values[i] / loss.sign_factor);
      step.bits += matched[i] / static_cast<double>(model.sites()[i].channels()) /
                   static_cast<double>(values.size());
    }
  }
  if (report.skipped || !std::isfinite(step.cross_entropy))
    fail(Fault::kNumerics, "the forged keys' loss or gradient is NaN or infinite; lower lr");
  return step;
}

void train_keys(Model& model, LearnedKeys& keys, const train::Dataset& data,
                const train::FitOptions& options, const KeyTraining& training) {
  Stream& stream = model.stream();
  model.parameters().train_only(stream, [](const TensorSpec&) { return false; });
  train::Batches batches(stream, {.train = data}, options);
  train::Optimizer optimizer(stream, keys.parameters(), options.optimizer);
  MemoryPlan plan;
  const Tensor& now = keys.parameters().weights();
  const Tensor before = training.one_tensor ? Tensor::secret(stream, now.shape()) : Tensor();
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    for (int64_t step = 0; step < batches.steps(); ++step) {
      const train::Position at{epoch, step};
      const train::Batch batch = batches.at(at);
      if (before)
        dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = now.view(), .y = before.view()}); });
      {
        const MemoryPlan::Run run(*stream.memory(), plan);
        key_step(model, keys, batch, training.loss, optimizer, training.clip_norm,
                 DropoutMasks{.seed = options.seed, .step = batches.number(at)});
      }
      if (before) keys.unite(before);
      if (training.step) training.step(epoch + 1, step + 1, batches.steps());
    }
    if (training.epoch) training.epoch(epoch + 1);
  }
}

}  // namespace passnorm::verify
