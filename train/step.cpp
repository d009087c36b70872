#include "train/step.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/runtime/trace.hpp"

namespace passnorm::train {
namespace {

StepResult forward(Model& model, Pass& pass, const Tensor& x, const Tensor& labels, Lanes lanes,
                   const LossOptions& options, const StepResult& to) {
  const trace::Range range("forward");
  Tape& tape = pass.tape;
  StepResult result;
  result.logits = model.forward(pass, {x, lanes, nullptr});
  result.losses =
      ops::cross_entropy(tape, result.logits, labels, options.label_smoothing, to.losses);
  const Tensor& losses = result.losses.loss;
  for (const Tensor& term : pass.losses)  // one of shared lanes is in each
    for (int64_t at = 0; at < losses.size(); at += term.size())
      dispatch(tape.stream(), [&](auto& s) {
        kernels::add_to(s, {.x = term.view(), .y = losses.slice(at, term.shape()).view()});
      });
  if (pass.raw.value)
    result.signs = ops::sign_loss(tape, pass.raw, model.site_channels(), pass.passport->bits(),
                                  options.sign, to.signs);
  return result;
}

/// Memory of a step: the same for the same batch, lanes and mode.
MemoryPlan& memory_plan(Model& model, const Tensor& x, Lanes lanes, Mode mode, bool gradients,
                        bool dropout = false) {
  return model.memory_plan({x.shape()[0], x.size(), static_cast<int64_t>(x.dtype()),
                            lanes.is_both(), lanes.has(Branch::kPublic), mode == Mode::kTrain,
                            gradients, dropout});
}

}  // namespace

StepResult forward_backward(Model& model, const OpenPassport* passport, const Tensor& x,
                            const Tensor& labels, Lanes lanes, const LossOptions& options,
                            const GradientOptions& gradient, const StepResult& to) {
  const MemoryPlan::Run run(
      *model.stream().memory(),
      memory_plan(model, x, lanes, Mode::kTrain, true, gradient.dropout.has_value()));
  Tape tape(model.stream(), Tape::Mode::kRecord, gradient.loss_scale);
  if (!gradient.accumulate) model.parameters().begin_gradients();
  Pass pass{.tape = tape, .passport = passport, .dropout = gradient.dropout};
  StepResult result = forward(model, pass, x, labels, lanes, options, to);
  const trace::Range range("backward");
  tape.backward();
  result.logits.gradient = nullptr;
  model.parameters().finish_gradients(model.stream());
  return result;
}

StepResult forward_only(Model& model, const OpenPassport* passport, const Tensor& x,
                        const Tensor& labels, Lanes lanes, Mode mode, const LossOptions& options,
                        const StepResult& to) {
  const MemoryPlan::Run run(*model.stream().memory(), memory_plan(model, x, lanes, mode, false));
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  Pass pass{.tape = tape, .mode = mode, .passport = passport};
  return forward(model, pass, x, labels, lanes, options, to);
}

// Shared lanes part at the first site.
int64_t loss_count(const Model& model, Lanes lanes) {
  return lanes.is_split() || (lanes.is_shared() && !model.sites().empty()) ? 2 : 1;
}

}  // namespace passnorm::train
