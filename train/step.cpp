#include "train/step.hpp"

namespace passnorm::train {
namespace {

StepResult forward(Model& model, Tape& tape, const OpenPassport* passport, const Tensor& x,
                   const Tensor& labels, Lanes lanes, Mode mode, const LossOptions& options) {
  Pass pass{.tape = tape, .mode = mode, .passport = passport};
  StepResult result;
  result.logits = model.forward(pass, {x, lanes, nullptr});
  result.losses = ops::cross_entropy(tape, result.logits, labels, options.label_smoothing);
  if (pass.raw.value)
    result.signs =
        ops::sign_loss(tape, pass.raw, model.site_channels(), passport->bits(), options.sign);
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
                            bool accumulate) {
  const MemoryPlan::Run run(*model.stream().memory(),
                            memory_plan(model, x, lanes, Mode::kTrain, true));
  Tape tape(model.stream());
  if (!accumulate) model.parameters().begin_gradients();
  StepResult result = forward(model, tape, passport, x, labels, lanes, Mode::kTrain, options);
  tape.backward();
  result.logits.gradient = nullptr;
  model.parameters().finish_gradients(model.stream());
  return result;
}

StepResult forward_only(Model& model, const OpenPassport* passport, const Tensor& x,
                        const Tensor& labels, Lanes lanes, Mode mode, const LossOptions& options) {
  const MemoryPlan::Run run(*model.stream().memory(), memory_plan(model, x, lanes, mode, false));
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  return forward(model, tape, passport, x, labels, lanes, mode, options);
}

}  // namespace passnorm::train
