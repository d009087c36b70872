#include "models/builder.hpp"

#include <algorithm>

namespace passnorm {

Builder::Builder(Model& model) : model_(model) {
  const auto& last = model.architecture_.last;
  const PassportPlan& plan = model.options_.plan;
  if (!plan.scheme->passport) return;
  if (plan.sites.empty())
    fail(Fault::kUsage, "scheme ", plan.scheme->name, " needs at least one site with a passport");
  for (const std::string& site : plan.sites) {
    if (site == "last")
      patterns_.insert(patterns_.end(), last.begin(), last.end());
    else
      patterns_.push_back(site == "all" ? "*" : site);
  }
  unmet_.insert(patterns_.begin(), patterns_.end());
}

bool Builder::carries_passport(const std::string& name) {
  bool met = false;
  for (const std::string& pattern : patterns_)
    if (matches_pattern(pattern, name)) {
      unmet_.erase(pattern);
      met = true;
    }
  return met;
}

Builder::Built Builder::conv_norm(const std::string& name, const Extent& in, int64_t outputs,
                                  int64_t kernel, int64_t stride, int64_t pad) {
  const kernels::ConvGeometry g{.n = 1,
                                .h = in.h,
                                .w = in.w,
                                .c = in.c,
                                .o = outputs,
                                .kh = kernel,
                                .kw = kernel,
                                .stride = stride,
                                .pad = pad};
  const ModelOptions& options = model_.options_;
  const NormSpec spec{.kind = options.norm, .channels = outputs};
  try {
    kernels::NormGeometry::of(spec.kind, 1, 1, outputs, 1, spec.group_channels);
  } catch (const Error& e) {
    fail(e.fault(), name, ": ", e.what());
  }
  ParameterSet& set = model_.parameters_;
  ConvNorm& layer = model_.layers_.emplace_back(
      ConvNorm{name, Convolution(set, name + ".conv", g, options.folded), {}});
  const bool site = carries_passport(name);
  if (!options.folded && site) {
    layer.norm = PassportNorm::at_site(set, name, spec, *options.plan.scheme, offset_);
  } else if (!options.folded) {
    const Scheme& scheme = *options.plan.scheme;
    const auto& affine = options.affine_layers;
    const bool learned = spec.kind != kernels::NormKind::kInstance ||
                         (affine ? std::ranges::find(*affine, name) != affine->end()
                                 : scheme.passport && scheme.public_lane);
    layer.norm = PassportNorm::ordinary(set, name, spec, learned);
  }
  if (site) {
    model_.passport_layers_.push_back(&layer);
    model_.sites_.push_back({name, g});
    offset_ += 2 * outputs;
  }
  return {&layer, {g.oh(), g.ow(), outputs}};
}

void Builder::finish() {
  if (!unmet_.empty()) {
    std::string names;
    for (const ConvNorm& layer : model_.layers_)
      names += concat(names.empty() ? "" : ", ", layer.name);
    fail(Fault::kUsage, "--sites: no layer of ", model_.architecture_.name, " matches \"",
         *unmet_.begin(), "\"; its layers: ", names);
  }
  model_.parameters_.allocate(*model_.stream_, model_.options_.initialise
                                                   ? std::optional(model_.options_.seed)
                                                   : std::nullopt);
}

}  // namespace passnorm
