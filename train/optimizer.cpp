#include "train/optimizer.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace passnorm::train {

using kernels::UpdateState;

OptimizerOptions::Kind optimizer_kind(std::string_view name) {
  if (name == "sgd") return OptimizerOptions::Kind::kSgd;
  if (name == "adam") return OptimizerOptions::Kind::kAdam;
  fail(Fault::kUsage, "unknown optimiser \"", name, "\"; known: sgd, adam");
}

Optimizer::Optimizer(Stream& stream, ParameterSet& parameters, const OptimizerOptions& options,
                     const Tensor& state)
    : stream_(stream),
      parameters_(parameters),
      options_(options),
      state_(state ? state : Tensor::empty(stream, {kStateWords})) {
  set_state({});
  const Shape& arena = parameters.weights().shape();
  const bool adam = options.kind == OptimizerOptions::Kind::kAdam;
  if (adam || options.momentum != 0) first_ = Tensor::zeros(stream, arena);
  if (adam) second_ = Tensor::zeros(stream, arena);
}

UpdateState* Optimizer::device_state() const {
  return reinterpret_cast<UpdateState*>(state_.span().data());
}

UpdateState Optimizer::state() const {
  std::array<float, kStateWords> words;
  std::ranges::copy(state_.to_host(stream_), words.begin());
  return std::bit_cast<UpdateState>(words);
}

void Optimizer::set_state(const UpdateState& state) {
  state_.copy_from<float>(stream_, std::bit_cast<std::array<float, kStateWords>>(state));
}

void Optimizer::update(const Update& u) {
  const auto w = parameters_.weights().span(), g = parameters_.gradients().span();
  const View w_copy = parameters_.copy().view();
  UpdateState* const state = device_state();
  const OptimizerOptions& o = options_;
  dispatch(stream_, [&](auto& s) {
    kernels::update_check(s, {.g = g,
                              .losses = u.losses,
                              .clip_norm = u.clip_norm,
                              .growth_interval = u.growth_interval,
                              .state = state});
    if (o.kind == OptimizerOptions::Kind::kAdam)
      kernels::adam_step(s, {.w = w,
                             .g = g,
                             .m = first_.span(),
                             .v = second_.span(),
                             .w_copy = w_copy,
                             .lr = u.lr,
                             .beta1 = o.beta1,
                             .beta2 = o.beta2,
                             .eps = o.eps,
                             .weight_decay = o.weight_decay,
                             .step = &state->updates,
                             .g_scale = &state->g_scale,
                             .apply = &state->apply});
    else
      kernels::sgd_step(s, {.w = w,
                            .g = g,
                            .momentum_buffer = first_ ? first_.span() : std::span<float>(),
                            .w_copy = w_copy,
                            .lr = u.lr,
                            .momentum = o.momentum,
                            .weight_decay = o.weight_decay,
                            .nesterov = o.nesterov,
                            .g_scale = &state->g_scale,
                            .apply = &state->apply});
  });
}

Optimizer::Report Optimizer::step(float lr_factor, float clip_norm) {
  update({.lr = options_.lr * lr_factor, .clip_norm = clip_norm});
  const UpdateState now = state();
  return {.gradient_norm = static_cast<double>(now.gradient_norm), .skipped = now.apply == 0};
}

}  // namespace passnorm::train
