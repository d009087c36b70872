#include "train/training_step.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/trace.hpp"

namespace passnorm::train {
namespace {

constexpr size_t kSlotsOfGpu = 4;  // steps under way: the host may be late by three
// f16 holds gradients down to 6e-8: the losses' are scaled up, by as much as does not overflow.
constexpr float kFirstLossScale = 0x1p16f;
constexpr int32_t kGrowthInterval = 2000;

void copy(Stream& stream, const Tensor& from, const Tensor& to) {
  if (from.size() > 0)
    dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = from.view(), .y = to.view()}); });
}

}  // namespace

struct TrainingStep::Slot {
  Position position;
  PinnedBytes in, out;
  Event done;

  Slot(Stream& stream, size_t bytes_in, size_t bytes_out)
      : in(stream, bytes_in), out(stream, bytes_out), done(stream) {}
};

TrainingStep::TrainingStep(Model& model, const OpenPassport* passport, Batches& batches,
                           const FitOptions& options)
    : model_(model),
      passport_(passport),
      batches_(batches),
      options_(options),
      lanes_(model.training_lanes()),
      input_(Tensor::empty(model.stream(), {batches.rows() + kScalarWords}, DType::kI64)),
      output_(
          Tensor::empty(model.stream(), {Optimizer::kStateWords + 2 * loss_count(model, lanes_) +
                                         2 * static_cast<int64_t>(model.sites().size())})),
      kept_buffers_(Tensor::empty(model.stream(), model.parameters().buffer_arena().shape())),
      optimizer_(model.stream(), model.parameters(), options.optimizer,
                 output_.slice(0, {Optimizer::kStateWords})) {
  static_assert(sizeof(Scalars) == kScalarWords * sizeof(int64_t));
  Stream& stream = model.stream();
  const int64_t lanes = loss_count(model, lanes_), sites = std::ssize(model.sites());
  int64_t at = Optimizer::kStateWords;
  const auto part = [&](int64_t n, DType dtype) {
    at += n;
    return output_.slice(at - n, {n}).bits_as(dtype);
  };
  to_.losses.loss = part(lanes, DType::kF32);
  to_.losses.hits = part(lanes, DType::kI32);
  if (sites > 0 && passport) {
    to_.signs.loss = part(sites, DType::kF32);
    to_.signs.matched = part(sites, DType::kI32);
  }
  const bool gpu = stream.device().kind == Device::Kind::kCuda;
  for (size_t i = 0; i < (gpu ? kSlotsOfGpu : 1); ++i)
    slots_.push_back(std::make_unique<Slot>(stream, static_cast<size_t>(input_.size()) * 8,
                                            static_cast<size_t>(output_.size()) * 4));
  set_state({.loss_scale = options.precision == DType::kF16 ? kFirstLossScale : 1});
  if (gpu && options.precision != DType::kF32)
    model.parameters().keep_copy(stream, options.precision);
}

TrainingStep::~TrainingStep() {
  try {
    while (!idle()) finish();
  } catch (...) {  // the device's fault was or will be reported by whoever needs a result
  }
  model_.parameters().drop_copy();
}

void TrainingStep::set_state(const kernels::UpdateState& state) {
  optimizer_.set_state(state);
  loss_scale_ = state.loss_scale;
}

void TrainingStep::start(const Position& position, float lr) {
  const trace::Range range("step");
  PASSNORM_CHECK(!full(), "step ", started_, " is started before step ", finished_, " is finished");
  if (!batch_.x) batch_ = batches_.empty();
  Slot& slot = *slots_[static_cast<size_t>(started_) % slots_.size()];
  slot.position = position;
  std::vector<int64_t> in(static_cast<size_t>(input_.size()));
  const auto rows = static_cast<size_t>(batches_.rows());
  batches_.choose(position, std::span(in).first(rows));
  const Scalars scalars{lr, static_cast<uint32_t>(position.epoch), batches_.number(position)};
  std::memcpy(in.data() + rows, &scalars, sizeof scalars);
  std::memcpy(slot.in.bytes().data(), in.data(), slot.in.bytes().size());

  Stream& stream = model_.stream();
  stream.copy_to_device(input_.span<int64_t>().data(), slot.in.bytes().data(),
                        slot.in.bytes().size());
  if (plan_.planned()) {
    recorded_->run(
        stream, [this] { work(); }, memory());
  } else {  // a record would refer to memory that the plan is about to give back
    recorded_.emplace();
    work();
  }
  stream.copy_to_host(slot.out.bytes().data(), output_.span().data(), slot.out.bytes().size());
  slot.done.record();
  ++started_;
}

CapturedMemory TrainingStep::memory() const {
  const ParameterSet& p = model_.parameters();
  CapturedMemory memory{.plan = &plan_};
  const auto add = [&](const Tensor& t) { memory.permanent.push_back(t.view()); };
  for (const Tensor* t :
       {&input_, &output_, &kept_buffers_, &batch_.x, &batch_.labels, &p.weights(), &p.copy(),
        &p.gradients(), &p.buffer_arena(), &optimizer_.first_moment(), &optimizer_.second_moment()})
    add(*t);
  if (passport_ != nullptr) {
    for (size_t i = 0; i < passport_->sites().size(); ++i) add(passport_->digest(i).value);
    add(passport_->bits());
  }
  return memory;
}

void TrainingStep::work() {
  Stream& stream = model_.stream();
  // All memory of the step is planned: what was recorded uses it when others may have the pool's.
  const MemoryPlan::Run run(*stream.memory(), plan_);
  const Tensor& buffers = model_.parameters().buffer_arena();
  kernels::UpdateState* const state = optimizer_.device_state();
  const std::byte* const scalars =
      reinterpret_cast<const std::byte*>(input_.span<int64_t>().data() + batches_.rows());
  const auto* lr = reinterpret_cast<const float*>(scalars + offsetof(Scalars, lr));
  const auto* epoch = reinterpret_cast<const uint32_t*>(scalars + offsetof(Scalars, epoch));
  const auto* step = reinterpret_cast<const uint32_t*>(scalars + offsetof(Scalars, step));

  batches_.fill(batch_, input_, epoch);
  copy(stream, buffers, kept_buffers_);
  forward_backward(model_, passport_, batch_.x, batch_.labels, lanes_, options_.loss,
                   {.loss_scale = &state->loss_scale,
                    .dropout = DropoutMasks{.seed = options_.seed, .step = step}},
                   to_);
  const trace::Range range("update");
  Optimizer::Update update{
      .lr = lr,
      .clip_norm = options_.clip_norm,
      .losses = {to_.losses.loss.span()},
      .growth_interval = options_.precision == DType::kF16 ? kGrowthInterval : 0};
  if (to_.signs.loss) update.losses[1] = to_.signs.loss.span();
  optimizer_.update(update);
  if (buffers.size() > 0)
    dispatch(stream, [&](auto& s) {
      kernels::restore(s,
                       {.kept = kept_buffers_.span(), .y = buffers.span(), .apply = &state->apply});
    });
}

StepNumbers TrainingStep::finish() {
  PASSNORM_CHECK(!idle(), "no step is under way");
  const Slot& slot = *slots_[static_cast<size_t>(finished_) % slots_.size()];
  ++finished_;
  slot.done.wait();

  StepNumbers n{.position = slot.position, .loss_scale = loss_scale_};
  const std::byte* at = slot.out.bytes().data();
  const auto next = [&]<class T>(T& value) {
    std::memcpy(static_cast<void*>(&value), at, sizeof value);
    at += sizeof value;
  };
  next(n.update);
  loss_scale_ = n.update.loss_scale;
  float value = 0;
  int32_t count = 0;
  const auto lanes = static_cast<size_t>(to_.losses.loss.size());
  for (size_t l = 0; l < lanes; ++l) next(value), n.loss[l] = static_cast<double>(value);
  for (size_t l = 0; l < lanes; ++l) next(count), n.hits[l] = count;
  if (!to_.signs.loss) return n;
  const std::vector<Site>& sites = model_.sites();
  for (size_t i = 0; i < sites.size(); ++i) next(value), n.sign_loss += static_cast<double>(value);
  double right = 0, total = 0;
  for (const Site& site : sites) {
    const auto channels = static_cast<double>(site.channels());
    next(count);
    n.bits.push_back(count / channels);
    right += count;
    total += channels;
  }
  n.all_bits = right / total;
  return n;
}

int64_t images_that_fit(Model& model, const OpenPassport* passport, const Shape& example,
                        const FitOptions& options, size_t bytes) {
  Stream& stream = model.stream();
  const auto step_bytes = [&](int64_t n) {
    MemoryPlan plan;
    const Tensor x =
        Tensor::zeros(stream, {n, example[0], example[1], example[2]}, options.precision);
    const Tensor labels = Tensor::zeros(stream, {n}, DType::kI32);
    {
      const MemoryPlan::Run run(*stream.memory(), plan);
      forward_backward(model, passport, x, labels, model.training_lanes(), options.loss,
                       {.dropout = DropoutMasks{.seed = options.seed}});
    }
    stream.synchronize();
    return static_cast<double>(plan.slab_bytes()) +
           static_cast<double>(x.size()) * static_cast<double>(size_of(x.dtype()));
  };
  try {
    const int64_t few = std::max<int64_t>(2, options.batch / 64), more = 2 * few;
    const double a = step_bytes(few), b = step_bytes(more);
    const double each = (b - a) / static_cast<double>(more - few);
    // The first step runs before its memory is planned and takes up to half more.
    const double n = (static_cast<double>(bytes) / 1.5 - a) / each + static_cast<double>(few);
    if (!(each > 0) || n < 1) return 0;
    const auto whole = std::min(static_cast<int64_t>(n), options.batch - 1);
    return whole > 16 ? whole / 8 * 8 : whole;
  } catch (const Error&) {
    return 0;  // not even those
  }
}

}  // namespace passnorm::train
