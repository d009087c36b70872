#include "train/optimizer.hpp"

#include <cmath>

#include "kernels/optimizer.hpp"
#include "kernels/reduce.hpp"

namespace passnorm::train {

OptimizerOptions::Kind optimizer_kind(std::string_view name) {
  if (name == "sgd") return OptimizerOptions::Kind::kSgd;
  if (name == "adam") return OptimizerOptions::Kind::kAdam;
  fail(Fault::kUsage, "unknown optimiser \"", name, "\"; known: sgd, adam");
}

Optimizer::Optimizer(Stream& stream, ParameterSet& parameters, const OptimizerOptions& options)
    : stream_(stream), parameters_(parameters), options_(options) {
  const Shape& arena = parameters.weights().shape();
  const bool adam = options.kind == OptimizerOptions::Kind::kAdam;
  if (adam || options.momentum != 0) first_ = Tensor::zeros(stream, arena);
  if (adam) second_ = Tensor::zeros(stream, arena);
}

Optimizer::Report Optimizer::step(float lr_factor, float clip_norm) {
  const auto w = parameters_.weights().span(), g = parameters_.gradients().span();
  const OptimizerOptions& o = options_;
  return dispatch(stream_, [&](auto& s) {
    // The norm is also the check for NaN and infinity: it is finite only if every element is.
    Report report{.gradient_norm = std::sqrt(kernels::sum_squares(s, g))};
    if (!std::isfinite(report.gradient_norm)) {
      report.skipped = true;
      return report;
    }
    const float scale = clip_norm > 0 && report.gradient_norm > clip_norm
                            ? static_cast<float>(clip_norm / report.gradient_norm)
                            : 1.0f;
    ++steps_;
    if (o.kind == OptimizerOptions::Kind::kAdam)
      kernels::adam_step(s, {.w = w,
                             .g = g,
                             .m = first_.span(),
                             .v = second_.span(),
                             .lr = o.lr * lr_factor,
                             .beta1 = o.beta1,
                             .beta2 = o.beta2,
                             .eps = o.eps,
                             .weight_decay = o.weight_decay,
                             .step = static_cast<int32_t>(steps_),
                             .g_scale = scale});
    else
      kernels::sgd_step(s, {.w = w,
                            .g = g,
                            .momentum_buffer = first_ ? first_.span() : std::span<float>(),
                            .lr = o.lr * lr_factor,
                            .momentum = o.momentum,
                            .weight_decay = o.weight_decay,
                            .nesterov = o.nesterov,
                            .g_scale = scale});
    return report;
  });
}

}  // namespace passnorm::train
