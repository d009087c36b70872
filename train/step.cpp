#include "train/step.hpp"

#include "kernels/runtime/trace.hpp"

namespace passnorm::train {
namespace {

StepResult forward(Model& model, Tape& tape, const OpenPassport* passport, const Tensor& x,
                   const Tensor& labels, Lanes lanes, Mode mode, const LossOptions& options,
                   const StepResult& to) {
  const trace::Range range("forward");
  Pass pass{.tape = tape, .mode = mode, .passport = passport};
  StepResult result;
  result.logits = model.forward(pass, {x, lanes, nullptr});
  result.losses =
      ops::cross_entropy(tape, result.logits, labels, options.label_smoothing, to.losses);
  if (pass.raw.value)
    result.signs = ops::sign_loss(tape, pass.raw, model.site_channels(), passport->bits(),
                                  options.sign, to.signs);
  return result;
}

/// Memory of a step: the same for the same batch size, lanes and mode.
MemoryPlan& memory_plan(Model& model, const Tensor& x, Lanes lanes, Mode mode, bool gradients) {
  return model.memory_plan({x.shape()[0], static_cast<int64_t>(x.dtype()), lanes.is_both(),
                            lanes.has(Branch::kPublic), mode == Mode::kTrain, gradients});
}

}  // namespace

StepResult forward_backward(Model& model, const OpenPassport* passport, const Tensor& x,
                            const Tensor& labels, Lanes lanes, const LossOptions& options,
                            const GradientOptions& gradient, const StepResult& to) {
  const MemoryPlan::Run run(*model.stream().memory(),
                            memory_plan(model, x, lanes, Mode::kTrain, true));
  Tape tape(model.stream());
  if (!gradient.accumulate) model.parameters().begin_gradients();
  StepResult result = forward(model, tape, passport, x, labels, lanes, Mode::kTrain, options, to);
  const trace::Range range("backward");
  tape.backward(1, gradient.loss_scale);
  result.logits.gradient = nullptr;
  model.parameters().finish_gradients(model.stream());
  return result;
}

StepResult forward_only(Model& model, const OpenPassport* passport, const Tensor& x,
                        const Tensor& labels, Lanes lanes, Mode mode, const LossOptions& options,
                        const StepResult& to) {
  const MemoryPlan::Run run(*model.stream().memory(), memory_plan(model, x, lanes, mode, false));
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  return forward(model, tape, passport, x, labels, lanes, mode, options, to);
}

// Shared lanes part at the first site.
int64_t loss_count(const Model& model, Lanes lanes) {
  return lanes.is_split() || (lanes.is_shared() && !model.sites().empty()) ? 2 : 1;
}

}  // namespace passnorm::train
