#include "train/trainer.hpp"

#include <chrono>

#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "train/batches.hpp"
#include "train/fingerprint.hpp"
#include "train/nonfinite.hpp"
#include "train/run_state.hpp"
#include "train/training_step.hpp"

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
        step_(model, this->passport(), batches_, o),
        folder_(o.checkpoint) {
    state_.bits.resize(model.sites().size());
    if (data.test) test_.emplace(model.stream(), *data.test);
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
    copy(best_weights_, weights());  // the step's 16-bit copy goes with the step
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
  /// Of the device's libraries, those that are new.
  void tell_notes() {
    for (const auto& notes = model_.stream().notes(); told_ < notes.size(); ++told_)
      note(notes[told_]);
  }

  static std::optional<OpenPassport> open(const Model& model, const Passport* passport) {
    if (!model.has_branch(Branch::kPassport)) return std::nullopt;
    if (!passport)
      fail(Fault::kSecret, "scheme ", model.options().plan.scheme->name, " trains with a passport");
    return model.open(*passport);
  }

  const FitData& checked(const FitData& data) const {
    for (const Dataset* set : {&data.train, data.test, data.triggers})
      if (set) check_fits(*set, model_);
    if (data.triggers && data.triggers->w != data.train.w)
      fail(Fault::kUsage, "the triggers are ", data.triggers->form(), ", the training data ",
           data.train.form());
    if (o_.epochs < 1) fail(Fault::kUsage, "a run has at least one epoch");
    if (o_.keep_best && !data.test) fail(Fault::kUsage, "the best epoch needs test data");
    if (data.test && data.test->n < 1) fail(Fault::kUsage, "there is nothing to evaluate on");
    if (o_.precision != DType::kF32 && o_.precision != DType::kBF16 && o_.precision != DType::kF16)
      fail(Fault::kUsage, "precision ", passnorm::name_of(o_.precision), ": f32, bf16 or f16");
    return data;
  }

  float rate(const Position& p) const {
    return o_.schedule.factor(p.epoch, p.step, o_.epochs, batches_.steps());
  }

  /// Starts the step of a position. Memory that does not suffice is a matter of the batch.
  void start(const Position& at) {
    try {
      step_.start(at, rate(at) * o_.optimizer.lr);
    } catch (const Error& e) {
      if (e.fault() != Fault::kMemory) throw;
      const MemoryPool& memory = *model_.stream().memory();
      const int64_t triggers = batches_.rows() - o_.batch;
      const int64_t n = images_that_fit(model_, passport(), batches_.example(), o_,
                                        memory.peak_bytes() - memory.used_bytes()) -
                        triggers;
      const char* const noun = batches_.example()[0] == 1 ? " clouds" : " images";
      fail(Fault::kMemory, e.what(), n > 0 ? concat("; about ", n, noun, " should fit") : "");
    }
  }

  /// A step whose loss or gradient was NaN or infinite: nothing was updated.
  void count_skipped(const StepNumbers& numbers) {
    if (numbers.overflowed()) return;  // the next one has a smaller scale
    ++state_.skipped_in_a_row;
    const bool give_up = state_.skipped_in_a_row >= o_.max_skipped;
    // One line for every stretch of bad steps.
    if (!give_up && (!callbacks_.note || state_.skipped_in_a_row != 1)) return;
    const Position& at = numbers.position;
    const std::string where = concat("step ", at.step + 1, " of epoch ", at.epoch + 1);
    const std::string what = describe(at);
    if (give_up)
      fail(Fault::kNumerics, "losses or gradients were NaN or infinite in ",
           state_.skipped_in_a_row, " steps in a row, up to ", where, ": ", what,
           "; lower --lr or set --clip-norm");
    note(concat(where, " is skipped, its loss or gradient is NaN or infinite: ", what));
  }

  /// What is not finite in the step of a position, which is run again: later ones may have
  /// followed.
  std::string describe(const Position& at) {
    const Tensor statistics = Tensor::empty(model_.stream(), buffers().shape());
    copy(buffers(), statistics);
    const Batch batch = batches_.at(at);
    forward_backward(model_, passport(), batch.x, batch.labels, lanes_, o_.loss,
                     {.dropout = DropoutMasks{.seed = o_.seed, .step = batches_.number(at)}});
    std::string what = describe_nonfinite(model_, passport(), batch, lanes_);
    copy(statistics, buffers());
    return what;
  }

  /// The device works on later steps while the host reads what earlier ones gave.
  void train_epoch() {
    const Position& at = state_.position;
    const int64_t steps = batches_.steps();
    Position next = at;    // to be started
    int64_t last = steps;  // not to be started any more
    bool stopping = false;
    Meter stretch;
    auto clock = Clock::now();
    while (at.step < last) {
      for (; next.step < last && !step_.full(); ++next.step) start(next);
      const StepNumbers numbers = step_.finish();
      tell_notes();
      const auto now = Clock::now();
      const double seconds = std::chrono::duration<double>(now - clock).count();
      clock = now;
      for (Meter* meter : {&state_.meter, &stretch}) meter->add(numbers, seconds);
      if (numbers.applied()) {
        state_.skipped_in_a_row = 0;
        state_.bits = numbers.bits;
      } else {
        count_skipped(numbers);
      }
      const float lr = rate(at) * o_.optimizer.lr;
      ++state_.position.step;
      if (callbacks_.progress && (stretch.seconds >= o_.progress_seconds || at.step == steps)) {
        Progress p = stretch.means(lanes_, batches_.rows());
        p.epoch = at.epoch, p.step = at.step, p.steps = steps, p.lr = lr;
        callbacks_.progress(p);
        stretch = Meter();
      }
      if (!stopping && callbacks_.stop && callbacks_.stop()) {
        stopping = true;
        last = next.step;
      }
    }
    if (!stopping) return;
    save();
    fail(Fault::kStopped, "stopped on request after step ", at.step, " of epoch ", at.epoch + 1,
         folder_.enabled() ? concat("; resumes from ", folder_.path(at)) : std::string());
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
    tell_notes();
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
                                      {"moment.first", step_.optimizer().first_moment()},
                                      {"moment.second", step_.optimizer().second_moment()},
                                      {"best.weights", best_weights_},
                                      {"best.buffers", best_buffers_}};
    std::erase_if(all, [](const auto& arena) { return arena.second.size() == 0; });
    return all;
  }

  void save() {
    if (!folder_.enabled()) return;
    state_.update = step_.state();
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
    step_.set_state(state_.update);
    model_.parameters().refresh_copy(model_.stream());
  }

  Model& model_;
  std::optional<OpenPassport> passport_;
  const FitOptions& o_;
  const Callbacks& callbacks_;
  Lanes lanes_;
  Batches batches_;
  std::optional<DeviceDataset> test_;
  TrainingStep step_;
  CheckpointFolder folder_;
  Metadata made_with_;
  RunState state_;
  size_t told_ = 0;  ///< notes of the stream
  Tensor best_weights_, best_buffers_;
};

}  // namespace

EpochReport fit(Model& model, const Passport* passport, const FitData& data, const FitOptions& o,
                const Callbacks& callbacks) {
  return Run(model, passport, data, o, callbacks).run();
}

}  // namespace passnorm::train
