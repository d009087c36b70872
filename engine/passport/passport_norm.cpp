#include "engine/passport/passport_norm.hpp"

#include <cmath>

#include "kernels/elementwise.hpp"

namespace passnorm {

using kernels::NormGeometry;
using kernels::NormKind;

Affine PassportAffine::affine(const Pass& pass) const {
  PASSNORM_CHECK(pass.used.value, "the passport branch runs without a passport");
  return {ops::slice(pass.tape, pass.used, offset_, {channels_}),
          ops::slice(pass.tape, pass.used, offset_ + channels_, {channels_})};
}

PassportNorm::Running PassportNorm::add_running(ParameterSet& set, const std::string& name,
                                                const std::string& released, int64_t channels,
                                                bool secret) {
  const auto add = [&](const char* what, float initial) {
    return &set.add_buffer({.name = name + what,
                            .shape = {channels},
                            .init = Init::constant(initial),
                            .secret = secret,
                            .released_name = released + what});
  };
  return {add(".running_mean", 0), add(".running_var", 1)};
}

std::shared_ptr<AffineSource> PassportNorm::add_affine(ParameterSet& set, const std::string& name,
                                                       const std::string& released,
                                                       int64_t channels, bool secret) {
  const auto add = [&](const char* what, float initial) -> const Parameter& {
    return set.add({.name = name + what,
                    .shape = {channels},
                    .init = Init::constant(initial),
                    .secret = secret,
                    .released_name = released + what});
  };
  const Parameter& scale = add(".weight", 1);
  return std::make_shared<LearnedAffine>(scale, add(".bias", 0));
}

PassportNorm PassportNorm::ordinary(ParameterSet& set, const std::string& name,
                                    const NormSpec& spec, bool learned) {
  PassportNorm norm(spec);
  const std::string bn = name + ".bn";
  if (learned)
    norm.source_[0] = add_affine(set, bn, bn, spec.channels, false);
  else
    norm.source_[0] = std::make_shared<UnitAffine>();
  norm.source_[1] = norm.source_[0];
  if (spec.keeps_statistics())
    norm.running_[0] = norm.running_[1] = add_running(set, bn, bn, spec.channels, false);
  return norm;
}

PassportNorm PassportNorm::per_lane(ParameterSet& set, const std::string& name,
                                    const NormSpec& spec) {
  PASSNORM_CHECK(spec.keeps_statistics(), name, ": only batch norm has statistics per lane");
  PassportNorm norm(spec);
  const std::string bn0 = name + ".bn0", bn1 = name + ".bn1", released = name + ".bn";
  norm.source_ = {add_affine(set, bn0, released, spec.channels, false),
                  add_affine(set, bn1, bn1, spec.channels, true)};
  norm.running_ = {add_running(set, bn0, released, spec.channels, false),
                   add_running(set, bn1, bn1, spec.channels, true)};
  return norm;
}

PassportNorm PassportNorm::at_site(ParameterSet& set, const std::string& name, const NormSpec& spec,
                                   const Scheme& scheme, int64_t offset) {
  PassportNorm norm(spec);
  const int64_t c = spec.channels;
  const std::string plain =
      name + ".bn";  // what the public branch's tensors are called once it is released
  if (scheme.public_lane) {
    const Parameter& scale = set.add({.name = name + ".scale",
                                      .shape = {c},
                                      .init = Init::constant(1),
                                      .optional = spec.affine_is_optional(),
                                      .released_name = plain + ".weight"});
    const Parameter& shift = set.add({.name = name + ".bias",
                                      .shape = {c},
                                      .init = Init::constant(0),
                                      .optional = spec.affine_is_optional(),
                                      .released_name = plain + ".bias"});
    norm.source_[0] = std::make_shared<LearnedAffine>(scale, shift);
  }
  norm.source_[1] = std::make_shared<PassportAffine>(offset, c);
  if (scheme.gate) {
    const int64_t hidden = c / 4;
    if (hidden < 1)
      fail(Fault::kUsage, "scheme ", scheme.name, ": the gate of ", name,
           " needs at least 4 channels; it has ", c);
    norm.gate_in_ = &set.add({.name = name + ".fc.0.weight",
                              .shape = {hidden, c},
                              .init = Init::uniform(1 / std::sqrt(static_cast<float>(c))),
                              .secret = true});
    norm.gate_out_ = &set.add({.name = name + ".fc.2.weight",
                               .shape = {c, hidden},
                               .init = Init::uniform(1 / std::sqrt(static_cast<float>(hidden))),
                               .secret = true});
  }
  if (spec.keeps_statistics()) {
    if (scheme.lane_statistics && scheme.public_lane) {
      norm.running_[0] = add_running(set, name + ".bn0", plain, c, false);
      norm.running_[1] = add_running(set, name + ".bn1", name + ".bn1", c, true);
    } else {
      norm.running_[0] = norm.running_[1] = add_running(set, plain, plain, c, false);
    }
  }
  return norm;
}

PassportNorm::Statistics PassportNorm::tables(Stream& stream, const NormGeometry& geometry) {
  const Shape table{geometry.blocks, geometry.groups};
  return {Tensor::empty(stream, table), Tensor::empty(stream, table)};
}

ops::NormMeasurement PassportNorm::measurement(Stream& stream, const Var& x, const Tensor& sums,
                                               const NormGeometry& geometry,
                                               const Statistics& into) const {
  ops::NormMeasurement m{.statistics = {.geometry = geometry,
                                        .x = x.value.view(),
                                        .mean = into.mean.span(),
                                        .rstd = into.rstd.span(),
                                        .eps = spec_.eps}};
  if (sums) m.statistics.sums = sums.span();
  if (spec_.kind != NormKind::kBatch) return m;

  m.var = Tensor::empty(stream, into.mean.shape());
  m.statistics.var = m.var.span();
  const int64_t c = spec_.channels;
  const auto update = [&](const Running& to, int64_t block,
                          float momentum) -> kernels::NormUpdateRunning {
    return {.channels = c,
            .count = geometry.group_size(),
            .mean = into.mean.slice(block * c, {c}).span(),
            .var = m.var.slice(block * c, {c}).span(),
            .running_mean = to.mean->value.span(),
            .running_var = to.var->value.span(),
            .momentum = momentum};
  };
  const float once = spec_.momentum;
  if (!x.lanes.is_both()) {
    m.running = {update(running_[static_cast<size_t>(x.lanes.branch())], 0, once)};
  } else if (x.lanes.is_shared() && running_[0] == running_[1]) {
    // both branches' updates with equal statistics, in one
    m.running = {update(running_[0], 0, 1 - (1 - once) * (1 - once))};
  } else {
    m.running = {update(running_[0], 0, once), update(running_[1], geometry.blocks - 1, once)};
  }
  return m;
}

PassportNorm::Statistics PassportNorm::running(Stream& stream,
                                               const std::vector<Branch>& blocks) const {
  const int64_t c = spec_.channels;
  const auto rows = static_cast<int64_t>(blocks.size());
  const Statistics out{Tensor::empty(stream, {rows, c}), Tensor::empty(stream, {rows, c})};
  for (int64_t i = 0; i < rows; ++i) {
    const Running& from = running_[static_cast<size_t>(blocks[static_cast<size_t>(i)])];
    dispatch(stream, [&](auto& s) {
      kernels::cast(s, {.x = from.mean->value.view(), .y = out.mean.slice(i * c, {c}).view()});
      kernels::norm_rstd(s, {.var = from.var->value.span(),
                             .rstd = out.rstd.slice(i * c, {c}).span(),
                             .eps = spec_.eps});
    });
  }
  return out;
}

/// Of what is not normalised: mean 0, deviation 1.
PassportNorm::Statistics PassportNorm::none(Stream& stream, const NormGeometry& geometry) {
  const Statistics out = tables(stream, geometry);
  dispatch(stream, [&](auto& s) {
    kernels::fill(s, {.y = out.mean.view(), .value = 0});
    kernels::fill(s, {.y = out.rstd.view(), .value = 1});
  });
  return out;
}

Var PassportNorm::forward(Pass& pass, const Var& x, const Epilogue& epilogue,
                          const Tensor& sums) const {
  PASSNORM_CHECK(!epilogue.pool || !epilogue.residual.x.value, "a maximum after a residual");
  auto [norm, measurement] = unmeasured(pass, x, sums);
  norm.options.activation = epilogue.activation;
  if (!epilogue.pool)
    return ops::norm(pass.tape, x, epilogue.residual, norm.lanes, norm.options, measurement);
  ops::measure(pass.tape.stream(), measurement);
  return ops::norm_pool(pass.tape, x, norm.lanes, norm.options, *epilogue.pool);
}

ops::Residual PassportNorm::unapplied(Pass& pass, const Var& x, const Tensor& sums) const {
  const Unmeasured u = unmeasured(pass, x, sums);
  ops::measure(pass.tape.stream(), u.measurement);
  return u.norm;
}

PassportNorm::Unmeasured PassportNorm::unmeasured(Pass& pass, const Var& x,
                                                  const Tensor& sums) const {
  for (const Branch b : {Branch::kPublic, Branch::kPassport})
    if (x.lanes.has(b) && !source_[static_cast<size_t>(b)])
      fail(Fault::kSecret,
           "this network has no public branch: its scale and shift come from the passport");
  Stream& stream = pass.tape.stream();
  const Shape& shape = x.shape();
  const int64_t n = shape[0], positions = shape.size() / (n * spec_.channels);
  PASSNORM_CHECK(shape[-1] == spec_.channels, "x ", shape, " for ", spec_.channels, " channels");

  const NormKind kind = spec_.normalise ? spec_.kind : NormKind::kBatch;
  const bool one_affine = source_[0] == source_[1];
  const bool one_set = one_affine && running_[0] == running_[1];
  const bool fork = x.lanes.is_shared() && !one_set;
  const NormGeometry geometry =
      NormGeometry::of(kind, n, positions, spec_.channels, x.lanes.parts(), spec_.group_channels);
  const bool fixed = !spec_.normalise || (spec_.keeps_statistics() && pass.mode == Mode::kEvaluate);

  std::array<Statistics, 2> statistics;
  std::optional<ops::NormMeasurement> to_measure;
  if (!spec_.normalise) {
    statistics[0] = statistics[1] = none(stream, geometry);
  } else if (!fixed) {
    statistics[0] = statistics[1] = tables(stream, geometry);
    to_measure = measurement(stream, x, sums, geometry, statistics[0]);
  } else if (fork) {
    statistics = {running(stream, {Branch::kPublic}), running(stream, {Branch::kPassport})};
  } else if (x.lanes.is_split()) {
    statistics[0] = statistics[1] = running(stream, {Branch::kPublic, Branch::kPassport});
  } else {
    statistics[0] = statistics[1] =
        running(stream, {x.lanes.is_shared() ? Branch::kPublic : x.lanes.branch()});
  }

  std::vector<ops::NormLane> lanes;
  const auto add_lane = [&](Branch b) {
    const auto i = static_cast<size_t>(b);
    const Affine affine = source_[i]->affine(pass);
    lanes.push_back({statistics[i].mean, statistics[i].rstd, affine.scale, affine.shift});
  };
  if (fork || (x.lanes.is_split() && !one_affine)) {
    add_lane(Branch::kPublic);
    add_lane(Branch::kPassport);
  } else {
    add_lane(x.lanes.is_both() ? Branch::kPublic : x.lanes.branch());
  }
  return {{x, lanes, {.geometry = geometry, .fork = fork, .fixed_statistics = fixed}}, to_measure};
}

}  // namespace passnorm
