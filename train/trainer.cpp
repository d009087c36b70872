#include "train/trainer.hpp"

#include <chrono>

#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "train/batches.hpp"
#include "train/fingerprint.hpp"
#include "train/nonfinite.hpp"
#include "train/run_state.hpp"

namespace passnorm::train {
namespace {

using Clock = std::chrono::steady_clock;

class Run {
 public:
  Run(Model& model, const Passport* passport, const FitData& data, const FitOptions& o,
      const Callbacks& callbacks)
      : model_(model),
        passport_(open(model, passport)),
        o_(o),
        callbacks_(callbacks),
        lanes_(model.training_lanes()),
        batches_(model.stream(), checked(data), o),
        optimizer_(model.stream(), model.parameters(), o.optimizer),
        folder_(o.checkpoint) {
    state_.bits.resize(model.sites().size());
    if (data.test) test_.emplace(model.stream(), *data.test);
    // Running statistics are updated in the forward pass: a step that is skipped gives them back.
    kept_buffers_ = Tensor::empty(model.stream(), buffers().shape());
    if (o.keep_best) {
      best_weights_ = Tensor::empty(model.stream(), weights().shape());
      best_buffers_ = Tensor::empty(model.stream(), buffers().shape());
    }
    if (o.checkpoint.folder.empty()) {
      if (o.checkpoint.resume) fail(Fault::kUsage, "a run is resumed from a checkpoint folder");
      return;
    }
    made_with_ = fingerprint(model, passport, data, o);
    if (o.checkpoint.resume)
      restore(folder_.resume(made_with_, callbacks.note));
    else
      folder_.start();
  }

  EpochReport run() {
    const bool native =
        dispatch(model_.stream(), [&](auto& s) { return kernels::convolves(s, o_.precision); });
    if (!native)
      note(concat("this machine does not convolve ", passnorm::name_of(o_.precision),
                  ": activations are stored so and convolved in f32"));
    while (state_.position.epoch < o_.epochs) {
      train_epoch();
      finish_epoch();
      save();
    }
    if (!o_.keep_best) return state_.last;
    copy(best_weights_, weights());
    copy(best_buffers_, buffers());
    return state_.best;
  }

 private:
  const Tensor& weights() const { return model_.parameters().weights(); }
  const Tensor& buffers() const { return model_.parameters().buffer_arena(); }
  const OpenPassport* passport() const { return passport_ ? &*passport_ : nullptr; }
  void copy(const Tensor& from, const Tensor& to) const {
    dispatch(model_.stream(),
             [&](auto& s) { kernels::cast(s, {.x = from.view(), .y = to.view()}); });
  }
  void note(const std::string& line) const {
    if (callbacks_.note) callbacks_.note(line);
  }

  static std::optional<OpenPassport> open(const Model& model, const Passport* passport) {
    if (!model.has_branch(Branch::kPassport)) return std::nullopt;
    if (!passport)
      fail(Fault::kSecret, "scheme ", model.options().plan.scheme->name, " trains with a passport");
    return model.open(*passport);
  }

  const FitData& checked(const FitData& data) const {
    for (const ImageSet* set : {&data.train, data.test, data.triggers})
      if (set) check_fits(*set, model_);
    if (o_.epochs < 1) fail(Fault::kUsage, "a run has at least one epoch");
    if (o_.keep_best && !data.test) fail(Fault::kUsage, "the best epoch needs test images");
    if (data.test && data.test->n < 1) fail(Fault::kUsage, "there are no images to evaluate on");
    if (o_.precision != DType::kF32 && o_.precision != DType::kBF16)
      fail(Fault::kUsage, "precision ", passnorm::name_of(o_.precision), ": f32 or bf16");
    return data;
  }

  float rate(const Position& p) const {
    return o_.schedule.factor(p.epoch, p.step, o_.epochs, batches_.steps());
  }

  /// The numbers of the step at the present position; none when it was skipped.
  std::optional<StepNumbers> train_step() {
    const Batch batch = batches_.at(state_.position);
    copy(buffers(), kept_buffers_);
    const StepResult r =
        forward_backward(model_, passport(), batch.x, batch.labels, lanes_, o_.loss);
    StepNumbers numbers(model_, r);
    if (numbers.finite() && !optimizer_.step(rate(state_.position), o_.clip_norm).skipped) {
      state_.skipped_in_a_row = 0;
      return numbers;
    }
    ++state_.skipped_in_a_row;
    const bool give_up = state_.skipped_in_a_row >= o_.max_skipped;
    // One line for every stretch of bad steps.
    if (give_up || (callbacks_.note && state_.skipped_in_a_row == 1)) {
      const std::string where =
          concat("step ", state_.position.step + 1, " of epoch ", state_.position.epoch + 1);
      const std::string what = describe_nonfinite(model_, passport(), batch, lanes_);
      if (give_up)
        fail(Fault::kNumerics, "losses or gradients were NaN or infinite in ",
             state_.skipped_in_a_row, " steps in a row, up to ", where, ": ", what,
             "; lower --lr or set --clip-norm");
      note(concat(where, " is skipped, its loss or gradient is NaN or infinite: ", what));
    }
    copy(kept_buffers_, buffers());
    return std::nullopt;
  }

  void train_epoch() {
    Position& at = state_.position;
    const int64_t steps = batches_.steps();
    Meter stretch;
    auto clock = Clock::now();
    while (at.step < steps) {
      const std::optional<StepNumbers> numbers = train_step();
      const auto now = Clock::now();
      const double seconds = std::chrono::duration<double>(now - clock).count();
      clock = now;
      for (Meter* meter : {&state_.meter, &stretch}) {
        numbers ? meter->add(*numbers) : void(++meter->skipped);
        meter->seconds += seconds;
      }
      if (numbers) state_.bits = numbers->bits;
      const float lr = rate(at) * o_.optimizer.lr;
      ++at.step;
      if (callbacks_.progress && (stretch.seconds >= o_.progress_seconds || at.step == steps)) {
        Progress p = stretch.means(lanes_, batches_.rows());
        p.epoch = at.epoch, p.step = at.step, p.steps = steps, p.lr = lr;
        callbacks_.progress(p);
        stretch = Meter();
      }
      if (callbacks_.stop && callbacks_.stop()) {
        save();
        fail(Fault::kStopped, "stopped on request after step ", at.step, " of epoch ", at.epoch + 1,
             folder_.enabled() ? concat("; resumes from ", folder_.path(at)) : std::string());
      }
    }
  }

  void finish_epoch() {
    Position& at = state_.position;
    require_finite(model_, concat("after epoch ", at.epoch + 1));
    EpochReport report{.train = state_.meter.means(lanes_, batches_.rows()),
                       .bits = state_.bits,
                       .seconds = state_.meter.seconds,
                       .skipped_steps = state_.meter.skipped};
    report.train.epoch = at.epoch, report.train.step = report.train.steps = batches_.steps();
    report.train.lr = rate({at.epoch, batches_.steps() - 1}) * o_.optimizer.lr;
    const EvaluateOptions as_trained{.precision = o_.precision};
    if (test_) report.test = evaluate(model_, passport(), *test_, as_trained);
    if (batches_.triggers())
      report.triggers = evaluate(model_, passport(), *batches_.triggers(), as_trained);
    if (o_.keep_best) offer(report);
    if (callbacks_.epoch) callbacks_.epoch(report);
    state_.last = std::move(report);
    state_.meter = Meter();
    at = {at.epoch + 1, 0};
  }

  void offer(const EpochReport& report) {
    const auto& branch = report.test->public_accuracy;
    const auto& other = report.test->passport_accuracy;
    const double score =
        branch && other ? (*branch + *other) / 2 : branch.value_or(other.value_or(0));
    if (score <= state_.best_score) return;
    state_.best_score = score;
    state_.best = report;
    copy(weights(), best_weights_);
    copy(buffers(), best_buffers_);
  }

  /// By the names of a checkpoint.
  std::map<std::string, Tensor> arenas() const {
    std::map<std::string, Tensor> all{{"weights", weights()},
                                      {"buffers", buffers()},
                                      {"moment.first", optimizer_.first_moment()},
                                      {"moment.second", optimizer_.second_moment()},
                                      {"best.weights", best_weights_},
                                      {"best.buffers", best_buffers_}};
    std::erase_if(all, [](const auto& arena) { return arena.second.size() == 0; });
    return all;
  }

  void save() {
    if (!folder_.enabled()) return;
    state_.updates = optimizer_.steps();
    Checkpoint c{.position = state_.position, .run = made_with_};
    for (const auto& [name, tensor] : arenas()) c.arenas[name] = tensor.to_host(model_.stream());
    c.numbers = numbers_of(state_, model_.sites().size());
    folder_.save(c);
  }

  void restore(const Checkpoint& c) {
    const auto all = arenas();
    for (const auto& [name, tensor] : all) {
      const auto found = c.arenas.find(name);
      if (found == c.arenas.end() || std::ssize(found->second) != tensor.size() ||
          c.arenas.size() != all.size())
        fail(Fault::kInput, folder_.path(c.position), ": its arenas are not those of this run");
    }
    state_ = state_of(folder_.path(c.position), c.numbers, model_.sites().size());
    state_.position = c.position;
    if (c.position.epoch > o_.epochs || c.position.step > batches_.steps())
      fail(Fault::kInput, folder_.path(c.position), ": its position is not one of this run");
    for (const auto& [name, tensor] : all)
      tensor.copy_from<float>(model_.stream(), c.arenas.at(name));
    optimizer_.set_steps(state_.updates);
  }

  Model& model_;
  std::optional<OpenPassport> passport_;
  const FitOptions& o_;
  const Callbacks& callbacks_;
  Lanes lanes_;
  Batches batches_;
  std::optional<DeviceImages> test_;
  Optimizer optimizer_;
  CheckpointFolder folder_;
  Metadata made_with_;
  RunState state_;
  Tensor kept_buffers_, best_weights_, best_buffers_;
};

}  // namespace

EpochReport fit(Model& model, const Passport* passport, const FitData& data, const FitOptions& o,
                const Callbacks& callbacks) {
  return Run(model, passport, data, o, callbacks).run();
}

}  // namespace passnorm::train
