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
  const float* const start = parameters.weights().span().data();
  int64_t begin = 0;
  for (auto p = parameters.parameters().begin(); p != parameters.parameters().end();) {
    const bool trained = static_cast<bool>(p->var.gradient);
    const bool last = ++p == parameters.parameters().end();
    const int64_t end = last ? arena.size() : p->var.value.span().data() - start;
    const bool joins =
        !stretches_.empty() && stretches_.back().begin + stretches_.back().size == begin;
    if (trained && joins)
      stretches_.back().size += end - begin;
    else if (trained)
      stretches_.push_back({begin, end - begin});
    begin = end;
  }
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
  UpdateState* const state = device_state();
  const OptimizerOptions& o = options_;
  dispatch(stream_, [&](auto& s) {
    kernels::update_check(s, {.g = parameters_.gradients().span(),
                              .losses = u.losses,
                              .clip_norm = u.clip_norm,
                              .growth_interval = u.growth_interval,
                              .state = state});
    for (const Stretch& stretch : stretches_) {
      const auto part = [&](const Tensor& arena) {
        return arena ? arena.slice(stretch.begin, {stretch.size}) : Tensor();
      };
      const Tensor w = part(parameters_.weights()), g = part(parameters_.gradients()),
                   w_copy = part(parameters_.copy()), first = part(first_), second = part(second_);
      if (o.kind == OptimizerOptions::Kind::kAdam)
        kernels::adam_step(s, {.w = w.span(),
                               .g = g.span(),
                               .m = first.span(),
                               .v = second.span(),
                               .w_copy = w_copy.view(),
                               .lr = u.lr,
                               .beta1 = o.beta1,
                               .beta2 = o.beta2,
                               .eps = o.eps,
                               .weight_decay = o.weight_decay,
                               .step = &state->updates,
                               .g_scale = &state->g_scale,
                               .apply = &state->apply});
      else
        kernels::sgd_step(s, {.w = w.span(),
                              .g = g.span(),
                              .momentum_buffer = first ? first.span() : std::span<float>(),
                              .w_copy = w_copy.view(),
                              .lr = u.lr,
                              .momentum = o.momentum,
                              .weight_decay = o.weight_decay,
                              .nesterov = o.nesterov,
                              .g_scale = &state->g_scale,
                              .apply = &state->apply});
    }
  });
}

Optimizer::Report Optimizer::step(float lr_factor, float clip_norm) {
  update({.lr = options_.lr * lr_factor, .clip_norm = clip_norm});
  const UpdateState now = state();
  return {.gradient_norm = static_cast<double>(now.gradient_norm), .skipped = now.apply == 0};
}

}  // namespace passnorm::train
