#include "train/trainer.hpp"

#include <chrono>

#include "kernels/elementwise.hpp"
#include "kernels/reduce.hpp"
#include "train/batch.hpp"
#include "train/data/loader.hpp"

namespace passnorm::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Sums over the steps of a stretch. Results wait on the device until the stretch is read.
class Meter {
 public:
  Meter(const Model& model, Lanes lanes, int64_t batch)
      : model_(&model), lanes_(lanes), batch_(batch), start_(Clock::now()) {}

  double seconds() const { return seconds_since(start_); }

  void add(const StepResult& r) { pending_.push_back({{}, r.losses, r.signs}); }

  /// The means since the start, and per site the share of right signs at the last step.
  Progress read(std::vector<double>* site_bits) {
    Stream& stream = model_->stream();
    for (const StepResult& r : pending_) {
      const auto loss = r.losses.loss.to_host(stream);
      const auto hits = r.losses.hits.to_host<int32_t>(stream);
      for (size_t l = 0; l < loss.size(); ++l) {
        loss_[l] += loss[l];
        hits_[l] += hits[l];
      }
      if (r.signs.loss)
        for (const float v : r.signs.loss.to_host(stream)) sign_loss_ += v;
      ++steps_;
    }
    const auto n = static_cast<double>(std::max<int64_t>(steps_, 1));
    const auto images = n * static_cast<double>(batch_);
    Progress p{.sign_loss = sign_loss_ / n};
    if (lanes_.has(Branch::kPublic)) {
      p.loss_public = loss_[0] / n;
      p.accuracy_public = hits_[0] / images;
    }
    if (lanes_.has(Branch::kPassport)) {
      const size_t l = lanes_.is_both() ? 1 : 0;
      p.loss_passport = loss_[l] / n;
      p.accuracy_passport = hits_[l] / images;
    }
    p.images_per_second = static_cast<double>(steps_ * batch_) / seconds_since(start_);
    if (!pending_.empty() && pending_.back().signs.matched) {
      const auto matched = pending_.back().signs.matched.to_host<int32_t>(stream);
      std::vector<double> bits;
      double right = 0, total = 0;
      for (size_t i = 0; i < matched.size(); ++i) {
        const auto channels = static_cast<double>(model_->sites()[i].channels());
        bits.push_back(matched[i] / channels);
        right += matched[i];
        total += channels;
      }
      p.bits = right / total;
      if (site_bits) *site_bits = std::move(bits);
    }
    pending_.clear();
    return p;
  }

 private:
  const Model* model_;
  Lanes lanes_;
  int64_t batch_;
  Clock::time_point start_;
  std::vector<StepResult> pending_;
  std::array<double, 2> loss_{}, hits_{};
  double sign_loss_ = 0;
  int64_t steps_ = 0;
};

/// Skipped gradients may come too late to end the run: what they leave is no network.
void require_finite(Model& model, int64_t epoch) {
  const ParameterSet& set = model.parameters();
  for (const Tensor* arena : {&set.weights(), &set.buffer_arena()}) {
    const int64_t bad = dispatch(
        model.stream(), [&](auto& s) { return kernels::count_nonfinite(s, arena->span()); });
    if (bad > 0)
      fail(Fault::kNumerics, bad, " weights or running statistics are NaN or infinite after epoch ",
           epoch + 1, "; lower --lr or set --clip-norm");
  }
}

}  // namespace

EpochReport fit(Model& model, const Passport* passport, const FitData& sets, const FitOptions& o,
                const Callbacks& callbacks) {
  const ImageSet& data = sets.train;
  const ImageSet* const test = sets.test;
  std::optional<OpenPassport> open;
  if (model.has_branch(Branch::kPassport)) {
    if (!passport)
      fail(Fault::kSecret, "scheme ", model.options().plan.scheme->name, " trains with a passport");
    open = model.open(*passport);
  }
  const OpenPassport* opened = open ? &*open : nullptr;
  const Lanes lanes = model.training_lanes();
  check_fits(data, model);
  const DeviceImages images(model.stream(), data);
  Loader loader(data.n, {.batch = o.batch, .seed = o.seed, .drop_last = true});
  const int64_t steps = loader.steps();
  if (steps < 1)
    fail(Fault::kUsage, "--batch ", o.batch, " is larger than the ", data.n, " training images");
  Optimizer optimizer(model.stream(), model.parameters(), o.optimizer);

  // Running statistics are updated in the forward pass: a step that is skipped gives them back.
  const Tensor& buffers = model.parameters().buffer_arena();
  const Tensor kept_buffers = Tensor::empty(model.stream(), buffers.shape());
  const auto copy = [&](const Tensor& from, const Tensor& to) {
    dispatch(model.stream(),
             [&](auto& s) { kernels::cast(s, {.x = from.view(), .y = to.view()}); });
  };

  int64_t skipped_in_a_row = 0;
  EpochReport last;
  for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
    const auto start = Clock::now();
    EpochReport report;
    Meter meter(model, lanes, o.batch);
    Meter stretch(model, lanes, o.batch);
    float lr = 0;
    for (int64_t step = 0; step < steps; ++step) {
      const Batch batch =
          images.batch(loader.indices(epoch, step), {.pad = o.crop_pad,
                                                     .flip = o.flip,
                                                     .seed = o.seed,
                                                     .epoch = static_cast<uint32_t>(epoch)});
      copy(buffers, kept_buffers);
      const StepResult r = forward_backward(model, opened, batch.x, batch.labels, lanes, o.loss);
      const float factor = o.schedule.factor(epoch, step, o.epochs, steps);
      lr = factor * o.optimizer.lr;
      if (optimizer.step(factor, o.clip_norm).skipped) {
        copy(kept_buffers, buffers);
        ++report.skipped_steps;
        if (++skipped_in_a_row >= o.max_skipped)
          fail(Fault::kNumerics, "gradients were NaN or infinite in ", skipped_in_a_row,
               " steps in a row, up to step ", step + 1, " of epoch ", epoch + 1,
               "; lower --lr or set --clip-norm");
      } else {
        skipped_in_a_row = 0;
      }
      meter.add(r);
      if (!callbacks.progress) continue;
      stretch.add(r);
      if (stretch.seconds() >= o.progress_seconds || step + 1 == steps) {
        Progress p = stretch.read(nullptr);
        p.epoch = epoch, p.step = step + 1, p.steps = steps, p.lr = lr;
        callbacks.progress(p);
        stretch = Meter(model, lanes, o.batch);
      }
    }
    require_finite(model, epoch);
    report.train = meter.read(&report.bits);
    report.train.epoch = epoch, report.train.step = report.train.steps = steps,
    report.train.lr = lr;
    report.seconds = seconds_since(start);
    if (test) report.test = evaluate(model, opened, *test);
    if (callbacks.epoch) callbacks.epoch(report);
    last = report;
  }
  return last;
}

}  // namespace passnorm::train
