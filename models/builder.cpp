#include "models/builder.hpp"

#include <algorithm>

namespace passnorm {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

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

bool Builder::has_bias(const std::string& name, Form::Bias bias) const {
  const ModelOptions& options = model_.options_;
  if (options.folded || bias == Form::Bias::kAlways) return true;
  if (bias == Form::Bias::kNone) return false;
  return options.bias_layers ? contains(*options.bias_layers, name)
                             : !options.plan.scheme->passport;
}

std::optional<PassportNorm> Builder::norm_of(const std::string& name, const Form& form,
                                             const NormSpec& spec, bool site) {
  const ModelOptions& options = model_.options_;
  const Scheme& scheme = *options.plan.scheme;
  ParameterSet& set = model_.parameters_;
  if (options.folded) return {};
  if (site) return PassportNorm::at_site(set, name, spec, scheme, offset_);
  if (form.transform && scheme.lane_transforms && scheme.public_lane && spec.keeps_statistics())
    return PassportNorm::per_lane(set, name, spec);
  const auto& affine = options.affine_layers;
  const bool learned = !spec.affine_is_optional() ||
                       (affine ? contains(*affine, name) : scheme.passport && scheme.public_lane);
  if (!learned && !spec.normalise) return {};
  return PassportNorm::ordinary(set, name, spec, learned);
}

Builder::Built Builder::add(const std::string& name, const Extent& in, const Form& form) {
  const kernels::ConvGeometry g{.n = 1,
                                .h = in.h,
                                .w = in.w,
                                .c = in.c,
                                .o = form.outputs,
                                .kh = form.kernel,
                                .kw = form.kernel,
                                .stride = form.stride,
                                .pad = form.pad};
  const NormSpec spec{
      .kind = model_.options_.norm, .normalise = form.normalise, .channels = form.outputs};
  try {
    if (form.normalise)
      kernels::NormGeometry::of(spec.kind, 1, 1, form.outputs, 1, spec.group_channels);
  } catch (const Error& e) {
    fail(e.fault(), name, ": ", e.what());
  }
  const char* producer = form.form == ConvolutionForm::kVector ? ".linear" : ".conv";
  Layer& layer = model_.layers_.emplace_back(Layer{
      .name = name,
      .convolution =
          Convolution(model_.parameters_, name + producer, g,
                      {.form = form.form, .bias = has_bias(name, form.bias), .init = form.init}),
      .can_carry_passport = !form.transform,
      .dropout = form.dropout});
  const bool site = !form.transform && carries_passport(name);
  layer.norm = norm_of(name, form, spec, site);
  if (site) {
    model_.passport_layers_.push_back(&layer);
    model_.sites_.push_back(layer.site());
    offset_ += 2 * form.outputs;
  }
  return {&layer, {g.oh(), g.ow(), form.outputs}};
}

void Builder::finish() {
  if (!unmet_.empty()) {
    std::string names;
    for (const Site& site : model_.possible_sites())
      names += concat(names.empty() ? "" : ", ", site.name);
    fail(Fault::kUsage, "--sites: no layer of ", model_.architecture_.name, " matches \"",
         *unmet_.begin(), "\"; its layers: ", names);
  }
  model_.parameters_.allocate(*model_.stream_, model_.options_.initialise
                                                   ? std::optional(model_.options_.seed)
                                                   : std::nullopt);
}

}  // namespace passnorm
