// Training on a GPU, or on the emulator, is training on the CPU: step by step up to roundings, as a
// recorded step to the bit what it is without a record, and resumed to the bit what it is in one
// go.
#include "train/training_step.hpp"

#include <cmath>

#include "engine/ops/ops.hpp"
#include "tests/support/tolerance.hpp"
#include "tests/train/training.hpp"
#if PASSNORM_EMULATED
#include "tests/emulator/counters.hpp"
#endif

namespace passnorm::train {
namespace {

using kernels::NormKind;

double norm_of(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}
/// |a - b| / |b|; of nothing 0.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  const double difference_norm = norm_of(difference);
  return difference_norm == 0 ? 0 : difference_norm / norm_of(b);
}

/// A network with its passport, optimiser and stream.
struct Network {
  std::unique_ptr<Model> model;
  std::optional<OpenPassport> passport;
  std::unique_ptr<Optimizer> optimizer;

  Network(const char* name, const char* scheme, NormKind norm, std::shared_ptr<Stream> stream,
          const OptimizerOptions& options)
      : model(models::make(name, {.norm = norm, .plan = PassportPlan::of(scheme), .seed = 1},
                           std::move(stream))) {
    if (!model->sites().empty())
      passport =
          model->open(Passport::random(model->sites(), test::secret(1), Signature::random()));
    optimizer = std::make_unique<Optimizer>(model->stream(), model->parameters(), options);
  }
  const OpenPassport* open() const { return passport ? &*passport : nullptr; }
  std::vector<const Tensor*> arenas() const {
    std::vector<const Tensor*> all{&model->parameters().weights(),
                                   &model->parameters().buffer_arena()};
    for (const Tensor* t : {&optimizer->first_moment(), &optimizer->second_moment()})
      if (*t) all.push_back(t);
    return all;
  }
  void take_state(const Network& from) {
    const auto to = arenas(), other = from.arenas();
    for (size_t i = 0; i < to.size(); ++i)
      to[i]->copy_from<float>(model->stream(), other[i]->to_host(from.model->stream()));
    optimizer->set_state(from.optimizer->state());
  }
};

/// Relative Frobenius errors as in tests/models/fork_test.cpp: roundings of every product on the
/// way to the logits and back, and one element on the other side of its kink.
struct Limits {
  double forward = 0, backward = 0;
};
Limits limits(const Model& model, int64_t batch, DType dtype = DType::kF32) {
  double products = 0, fewest = 1e30;
  for (const Layer& layer : model.layers()) {
    const kernels::ConvGeometry& g = layer.convolution.geometry();
    products += static_cast<double>(g.window());
    fewest = std::min(fewest, static_cast<double>(batch * g.y_size()));
  }
  const double forward = test::gamma(products, test::unit_roundoff(dtype));
  return {forward, 2 * forward + std::sqrt(1 / fewest)};
}

/// Every step starts from the CPU's state.
void expect_steps_of_the_cpu(const char* name, const char* scheme, NormKind norm, int64_t batch,
                             int steps, const OptimizerOptions& options) {
  Network cpu(name, scheme, norm, make_stream(Device::cpu(), 2), options),
      device(name, scheme, norm, test::network_stream(), options);
  ASSERT_NE(cpu.model->stream().device(), device.model->stream().device());
  const Dataset set = train_set(batch * steps);
  const DeviceDataset on_cpu(cpu.model->stream(), set), on_device(device.model->stream(), set);
  const Limits limit = limits(*cpu.model, batch);
  const auto all = [](const Network& n, const Tensor& t) { return t.to_host(n.model->stream()); };
  for (int step = 0; step < steps; ++step) {
    SCOPED_TRACE(concat(name, " ", scheme, " step ", step));
    device.take_state(cpu);
    std::vector<int64_t> index(static_cast<size_t>(batch));
    for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(i) + step * batch;
    const DeviceDataset::Augmentation crop{
        .pad = 2, .flip = true, .seed = 3, .epoch = static_cast<uint32_t>(step)};
    std::array<std::vector<float>, 2> losses, signs;
    std::array<std::vector<int32_t>, 2> hits, matched;
    for (const bool gpu : {false, true}) {
      Network& n = gpu ? device : cpu;
      const Batch b = (gpu ? on_device : on_cpu).batch(index, crop);
      const StepResult r =
          forward_backward(*n.model, n.open(), b.x, b.labels, n.model->training_lanes(), {});
      Stream& s = n.model->stream();
      losses[gpu] = r.losses.loss.to_host(s);
      hits[gpu] = r.losses.hits.to_host<int32_t>(s);
      if (r.signs.loss) signs[gpu] = r.signs.loss.to_host(s);
      if (r.signs.loss) matched[gpu] = r.signs.matched.to_host<int32_t>(s);
    }
    EXPECT_LE(distance(losses[1], losses[0]), limit.forward);
    EXPECT_LE(distance(signs[1], signs[0]), limit.forward);
    EXPECT_EQ(hits[1], hits[0]);
    EXPECT_EQ(matched[1], matched[0]);
    const auto &p = cpu.model->parameters().parameters(),
               &q = device.model->parameters().parameters();
    for (size_t i = 0; i < p.size(); ++i) {
      const auto expected = all(cpu, p[i].var.gradient->value);
      EXPECT_LE(distance(all(device, q[i].var.gradient->value), expected), limit.backward)
          << p[i].spec.name;
      EXPECT_GT(norm_of(expected), 0) << p[i].spec.name;
    }
    const auto before = all(cpu, cpu.model->parameters().weights());
    const auto a = cpu.optimizer->step(1, 1), b = device.optimizer->step(1, 1);
    EXPECT_FALSE(a.skipped || b.skipped);
    EXPECT_NEAR(b.gradient_norm, a.gradient_norm, limit.backward * a.gradient_norm);
    // Of the change of the weights; Adam's first steps have the length of the sign of the gradient,
    // whatever its size: there all but a few are the same.
    auto change = all(cpu, cpu.model->parameters().weights());
    auto other = all(device, device.model->parameters().weights());
    for (size_t i = 0; i < change.size(); ++i) change[i] -= before[i], other[i] -= before[i];
    EXPECT_GT(norm_of(change), 0);
    EXPECT_LE(distance(other, change), options.kind == OptimizerOptions::Kind::kAdam
                                           ? std::sqrt(limit.backward)
                                           : limit.backward);
    EXPECT_LE(distance(all(device, device.model->parameters().buffer_arena()),
                       all(cpu, cpu.model->parameters().buffer_arena())),
              limit.forward);
  }
}

const OptimizerOptions kSgd{.lr = 0.05f, .nesterov = true},
    kAdam{.kind = OptimizerOptions::Kind::kAdam, .lr = 1e-3f};

TEST(CudaTraining, StepsAreThoseOfTheCpu) {
  expect_steps_of_the_cpu("alexnet", "pan", NormKind::kBatch, 2, 1, kSgd);
  expect_steps_of_the_cpu("tiny", "pan", NormKind::kBatch, 2, 2, kSgd);
  expect_steps_of_the_cpu("tiny", "deepipr-v2", NormKind::kGroup, 1, 2, kAdam);
  expect_steps_of_the_cpu("tiny", "deepipr-v1", NormKind::kInstance, 1, 1, kSgd);
  expect_steps_of_the_cpu("tiny", "none", NormKind::kLayer, 1, 1, kSgd);
}

TEST(CudaTrainingFull, StepsAreThoseOfTheCpu) {
  expect_steps_of_the_cpu("alexnet", "pan", NormKind::kBatch, 4, 3, kSgd);
  expect_steps_of_the_cpu("tiny", "pan", NormKind::kBatch, 4, 20, kSgd);
  expect_steps_of_the_cpu("tiny", "deepipr-v2", NormKind::kGroup, 4, 20, kAdam);
}

TEST(CudaTrainingFull, LossesOfTwentyStepsAreThoseOfTheCpu) {
  const Dataset data = train_set(160);
  for (const char* scheme : {"pan", "deepipr-v2"}) {
    std::array<std::vector<Progress>, 2> progress;
    for (const bool gpu : {false, true}) {
      Training run(scheme, NormKind::kBatch,
                   gpu ? test::network_stream() : make_stream(Device::cpu(), 2));
      FitOptions o = quick(1, 8);
      o.optimizer.lr = 0.02f;
      o.progress_seconds = 0;
      run.fit({data}, o);
      progress[gpu] = run.progress;
    }
    ASSERT_EQ(progress[0].size(), 20u);
    ASSERT_EQ(progress[1].size(), 20u);
    for (size_t i = 0; i < 20; ++i) {
      const Progress &a = progress[0][i], &b = progress[1][i];
      EXPECT_EQ(b.step, a.step);
      EXPECT_EQ(b.lr, a.lr);
      for (const auto field :
           {&Progress::loss_public, &Progress::loss_passport, &Progress::sign_loss})
        EXPECT_NEAR(b.*field, a.*field, 1e-2 * (a.*field)) << scheme << " step " << i;
    }
  }
}

/// Steps with other images, rates and epochs.
struct Steps {
  Dataset data = train_set(8);
  FitOptions options = quick(3, 2);
  Steps() { options.flip = true; }
  FitData fit_data() const { return {data}; }
  static Position position(int i) { return {i / 4, i % 4}; }
  static float rate(int i) { return 0.05f / static_cast<float>(1 + i % 3); }
  static constexpr int kCount = 9;
};

TEST(CudaTraining, ARecordedStepIsTheSameStep) {
  struct Way {
    DType precision;
    bool sums = false;  // of convolutions, for batch norm
  };
  for (const auto& [precision, sums] :
       {Way{DType::kF32}, Way{DType::kBF16}, Way{DType::kF16}, Way{DType::kF16, true}}) {
    const auto stream = sums ? test::summing_stream() : test::network_stream();
    Steps steps;
    steps.options.precision = precision;
    // As the trainer does it.
    Training recorded("pan", NormKind::kBatch, stream);
    Model& model = *recorded.model;
    const OpenPassport passport = model.open(*recorded.passport);
    Batches batches(model.stream(), steps.fit_data(), steps.options);
    std::vector<StepNumbers> numbers;
    {
      TrainingStep step(model, &passport, batches, steps.options);
      for (int i = 0; i < Steps::kCount; ++i) {
#if PASSNORM_EMULATED
        auto& c = emulator::counters();
        const size_t waits = c.synchronisations, allocations = c.allocations, launches = c.launches;
        const bool is_recorded = step.nodes() > 0;
#endif
        step.start(Steps::position(i), Steps::rate(i));
#if PASSNORM_EMULATED
        EXPECT_EQ(c.synchronisations, waits) << "the host waited in step " << i;
        if (is_recorded) {
          EXPECT_EQ(c.allocations, allocations) << "step " << i;
          EXPECT_EQ(c.launches, launches) << "step " << i << " was not replayed";
        }
#endif
        if (step.full()) numbers.push_back(step.finish());
      }
      EXPECT_GT(step.nodes(), 0u) << "was never recorded";
      while (!step.idle()) numbers.push_back(step.finish());
    }
    // One by one, nothing recorded, numbers given as they are.
    Training eager("pan", NormKind::kBatch, stream);
    Model& other = *eager.model;
    const OpenPassport other_passport = other.open(*eager.passport);
    Batches other_batches(other.stream(), steps.fit_data(), steps.options);
    if (precision != DType::kF32) other.parameters().keep_copy(other.stream(), precision);
    Optimizer optimizer(other.stream(), other.parameters(), steps.options.optimizer);
    optimizer.set_state({.loss_scale = precision == DType::kF16 ? 0x1p16f : 1.0f});
    ASSERT_EQ(numbers.size(), static_cast<size_t>(Steps::kCount));
    for (int i = 0; i < Steps::kCount; ++i) {
      SCOPED_TRACE(concat(name_of(precision), " step ", i));
      const Batch batch = other_batches.at(Steps::position(i));
      const StepResult r = forward_backward(other, &other_passport, batch.x, batch.labels,
                                            other.training_lanes(), steps.options.loss,
                                            {.loss_scale = &optimizer.device_state()->loss_scale});
      optimizer.update({.lr = Steps::rate(i),
                        .clip_norm = steps.options.clip_norm,
                        .growth_interval = precision == DType::kF16 ? 2000 : 0});
      const StepNumbers& n = numbers[static_cast<size_t>(i)];
      EXPECT_EQ(n.position, Steps::position(i));
      EXPECT_TRUE(n.applied());
      EXPECT_EQ(n.update.updates, i + 1);
      const auto losses = r.losses.loss.to_host(other.stream());
      EXPECT_EQ(n.loss[0], double{losses[0]});
      EXPECT_EQ(n.loss[1], double{losses[1]});
      EXPECT_EQ(n.update.gradient_norm, optimizer.state().gradient_norm);
    }
    EXPECT_TRUE(test::same_numbers(recorded.weights(),
                                   other.parameters().weights().to_host(other.stream())));
    EXPECT_TRUE(test::same_numbers(recorded.buffers(),
                                   other.parameters().buffer_arena().to_host(other.stream())));
    // The other way to keep the 16-bit weights is to write them anew.
    if (precision == DType::kBF16) {
      const auto copy = other.parameters().copy().to_host<bfloat16>(other.stream());
      const auto w = other.parameters().weights().to_host(other.stream());
      for (size_t i = 0; i < w.size(); ++i) ASSERT_EQ(copy[i].bits, bfloat16(w[i]).bits) << i;
    }
    EXPECT_FALSE(model.parameters().copy());
  }
}

#if PASSNORM_EMULATED
TEST(CudaTraining, ALossAndItsGradientAreOneLaunch) {
  Stream& stream = *test::network_stream();
  const auto launches = [](const std::function<void()>& f) {
    const size_t before = emulator::counters().launches;
    f();
    return emulator::counters().launches - before;
  };
  const auto zeros = [&](const Shape& shape) {
    return Var{Tensor::zeros(stream, shape), Lanes::only(Branch::kPassport),
               std::make_shared<Gradient>()};
  };
  const Var logits = zeros({4, 3}), raw = zeros({2 * 5}), transforms = zeros({2, 9});
  const Tensor labels = Tensor::zeros(stream, {4}, DType::kI32),
               bits = Tensor::zeros(stream, {5}, DType::kI8);
  Tape tape(stream);
  ops::slice(tape, raw, 0, {5});  // as the norms do: sums start from zero
  EXPECT_EQ(launches([&] { ops::cross_entropy(tape, logits, labels); }), 1u);
  EXPECT_EQ(launches([&] { ops::sign_loss(tape, raw, {5}, bits, {}); }), 1u);
  EXPECT_EQ(launches([&] { ops::orthogonality_loss(tape, transforms, {}); }), 1u);
  for (const Var* x : {&logits, &raw, &transforms}) EXPECT_TRUE(x->gradient->written);
}

/// Keys and bits do not go through buffers that nobody wipes.
TEST(CudaTraining, APassportIsOpenedThroughStagedMemory) {
  const auto model =
      models::make("tiny", {.plan = PassportPlan::of("pan"), .seed = 1}, test::network_stream());
  const Passport passport = Passport::random(model->sites(), test::secret(1), Signature::random());
  const auto& c = emulator::counters();
  const size_t copies = c.pageable_copies, waits = c.synchronisations;
  const OpenPassport open = model->open(passport);
  EXPECT_EQ(c.pageable_copies, copies);
  EXPECT_EQ(c.synchronisations, waits + 1) << "once for the whole passport";
}
#endif

TEST(CudaTraining, RepeatsItselfToTheByte) {
  const Dataset data = train_set(12);
  std::vector<std::vector<float>> weights;
  for (int i = 0; i < 2; ++i) {
    Training run("pan");
    run.fit({data, &data}, quick(2, 2));
    weights.push_back(run.weights());
  }
  EXPECT_TRUE(test::same_numbers(weights[0], weights[1]));
}

/// The evaluation after the first epoch moves the memory that the step was recorded with.
TEST(CudaTraining, EvaluationInBetweenChangesNothing) {
  const Dataset data = train_set(10), test = train_set(20);
  std::vector<std::vector<float>> weights;
  for (const bool evaluate : {false, true}) {
    Training run("pan");
    run.fit({data, evaluate ? &test : nullptr}, quick(2, 2));
    weights.push_back(run.weights());
  }
  EXPECT_TRUE(test::same_numbers(weights[0], weights[1]));
}

void set_all(const Training& run, const char* name, float value) {
  const Tensor& t = run.model->parameters().find(name)->var.value;
  t.copy_from<float>(run.model->stream(), std::vector<float>(static_cast<size_t>(t.size()), value));
}

/// Steps that are not finite change nothing, are named, and end the run after so many in a row.
TEST(CudaTraining, BadStepsAreSkippedAndNamed) {
  const Dataset data = train_set(16);
  Training run("pan");
  set_all(run, "conv2.conv.weight", INFINITY);
  const auto weights = run.weights(), buffers = run.buffers();
  FitOptions o = quick(1, 2);
  o.max_skipped = 6;
  const std::string text = test::refusal(Fault::kNumerics, [&] { run.fit({data}, o); });
  EXPECT_CONTAINS(text, "6 steps in a row, up to step 6 of epoch 1");
  EXPECT_CONTAINS(text, "weight conv2.conv.weight");
  ASSERT_EQ(run.notes.size(), 1u);
  EXPECT_CONTAINS(run.notes[0], "step 1 of epoch 1 is skipped");
  EXPECT_CONTAINS(run.notes[0], "weight conv2.conv.weight");
  EXPECT_EQ(run.weights(), weights);
  EXPECT_TRUE(test::same_numbers(run.buffers(), buffers)) << "running statistics";
}

/// A recorded step is skipped too, and the next one is as if it had not been.
TEST(CudaTraining, ASkippedRecordedStepLeavesNoTrace) {
  Steps steps;
  std::array<std::vector<float>, 2> weights, buffers;
  for (const bool disturb : {false, true}) {
    Training run("pan");
    Model& model = *run.model;
    const OpenPassport passport = model.open(*run.passport);
    Batches batches(model.stream(), steps.fit_data(), steps.options);
    TrainingStep step(model, &passport, batches, steps.options);
    const auto one = [&](int i) {
      step.start(Steps::position(i), Steps::rate(i));
      return step.finish();
    };
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(one(i).applied());
    ASSERT_GT(step.nodes(), 0u);
    if (disturb) {
      const auto kept = run.weights();
      set_all(run, "linear.bias", NAN);
      for (const int i : {7, 8}) {
        const StepNumbers n = one(i);
        EXPECT_FALSE(n.applied());
        EXPECT_FALSE(n.overflowed());
        EXPECT_TRUE(std::isnan(n.loss[0]));
        EXPECT_EQ(n.update.updates, 6);
      }
      model.parameters().weights().copy_from<float>(model.stream(), kept);
    }
    EXPECT_TRUE(one(6).applied());
    EXPECT_EQ(step.state().updates, 7);
    weights[disturb] = run.weights();
    buffers[disturb] = run.buffers();
  }
  EXPECT_TRUE(test::same_numbers(weights[1], weights[0]));
  EXPECT_TRUE(test::same_numbers(buffers[1], buffers[0]));
}

/// Stopped in the middle of an epoch, with steps under way, and resumed.
TEST(CudaTraining, ResumesToTheBit) {
  const Dataset data = train_set(16);
  for (const DType precision : {DType::kF32, DType::kF16}) {
    FitOptions o = quick(2, 2);  // 8 steps
    o.precision = precision;
    if (precision == DType::kF16)
      o.optimizer = {.kind = OptimizerOptions::Kind::kAdam, .lr = 1e-3f};
    Training whole("pan");
    whole.fit({data}, o);
    const test::TemporaryFolder folder;
    o.checkpoint = {.folder = folder.path("checkpoints")};
    Training first("pan");
    int asked = 0;
    first.stop = [&] { return ++asked == 3; };
    const std::string text = test::refusal(Fault::kStopped, [&] { first.fit({data}, o); });
    EXPECT_CONTAINS(text, "of epoch 1");
    o.checkpoint.resume = true;
    Training second("pan");
    second.fit({data}, o);
    EXPECT_TRUE(test::same_numbers(second.weights(), whole.weights())) << name_of(precision);
    EXPECT_TRUE(test::same_numbers(second.buffers(), whole.buffers()));
  }
}

}  // namespace
}  // namespace passnorm::train
