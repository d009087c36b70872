// What the runs of the references were made of: every tensor follows from its name (README.md
// here).
#pragma once

#include <cmath>
#include <numeric>

#include "models/model.hpp"

namespace passnorm::golden {

/// The deterministic fill: FNV-1a of the name seeds a linear congruential generator; values in [-1,
/// 1).
inline std::vector<double> fill(const std::string& name, int64_t count) {
  uint32_t x = 2166136261u;
  for (const char c : name) x = (x ^ static_cast<unsigned char>(c)) * 16777619u;
  std::vector<double> v(static_cast<size_t>(count));
  for (double& value : v) {
    x = 1664525u * x + 1013904223u;
    value = static_cast<double>(x) / 0x1p31 - 1;
  }
  return v;
}

inline std::vector<float> parameter_values(const std::string& name,
                                           const std::vector<int64_t>& shape) {
  const int64_t size = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  const std::vector<double> v = fill(name, size);
  std::vector<float> out(v.size());
  const bool gate = name.ends_with(".fc.0.weight") || name.ends_with(".fc.2.weight");
  const double fan_in = static_cast<double>(size / shape[0]);
  for (size_t i = 0; i < v.size(); ++i) {
    double value = 0;
    if (shape.size() > 1)
      value = v[i] * (gate ? 1 / std::sqrt(fan_in) : std::sqrt(6 / fan_in));
    else if (name.ends_with(".scale") || name.ends_with(".weight"))
      value = 1 + 0.1 * v[i];
    else
      value = 0.1 * v[i];
    if (name.find("stn.fc3.") != std::string::npos) value *= 0.01;
    out[i] = static_cast<float>(value);
  }
  return out;
}

inline std::vector<float> as_floats(const std::vector<double>& v) { return {v.begin(), v.end()}; }

/// What the reference calls a parameter of the model. Its plain PointNet is another class than its
/// passport networks, of flat names; the names here are the passport networks'.
inline std::string reference_name(const Model& model, const std::string& name) {
  if (!model.architecture().of_points() || model.options().plan.scheme->passport) return name;
  const bool transform = name.find("stn.") != std::string::npos;
  const std::string prefix = transform ? name.substr(0, name.find('.') + 1) : "";
  const std::string rest = name.substr(prefix.size());
  const std::pair<const char*, const char*> of_transforms[] = {
      {"conv1.conv.", "conv1."}, {"conv1.bn.", "bn1."},     {"conv2.conv.", "conv2."},
      {"conv2.bn.", "bn2."},     {"conv3.conv.", "conv3."}, {"conv3.bn.", "bn3."},
      {"fc1.linear.", "fc1."},   {"fc1.bn.", "bn4."},       {"fc2.linear.", "fc2."},
      {"fc2.bn.", "bn5."},       {"fc3.", "fc3."}};
  const std::pair<const char*, const char*> of_network[] = {
      {"convp1.conv.", "conv1."}, {"convp1.bn.", "t_bn1."},   {"convp2.conv.", "conv2."},
      {"convp2.bn.", "t_bn2."},   {"convp3.conv.", "conv3."}, {"convp3.bn.", "t_bn3."},
      {"p1.linear.", "fc1."},     {"p1.bn.", "bn1."},         {"p2.linear.", "fc2."},
      {"p2.bn.", "bn2."},         {"p3.linear.", "fc3."}};
  for (const auto& [ours, theirs] : std::span(transform ? of_transforms : of_network))
    if (rest.starts_with(ours)) return prefix + theirs + rest.substr(std::string(ours).size());
  return name;
}

/// Every parameter of the model.
inline void fill_parameters(Model& model) {
  for (const Parameter& p : model.parameters().parameters())
    p.var.value.copy_from<float>(
        model.stream(), from_file_order(p.spec, parameter_values(reference_name(model, p.spec.name),
                                                                 file_shape(p.spec))));
}

inline Passport filled_passport(const std::vector<Site>& sites) {
  std::vector<SitePassport> out;
  for (const Site& site : sites) {
    const int64_t n = site.geometry.c * site.geometry.h * site.geometry.w;
    const auto key = [&](const char* role) {
      const std::vector<double> v = fill(site.name + role, n);
      return SecretVector<float>(v.begin(), v.end());
    };
    SitePassport p{site, key(".skey"), key(".key"), {}};
    for (const double b : fill(site.name + ".b", site.channels())) p.bits.push_back(b > 0 ? 1 : -1);
    out.push_back(std::move(p));
  }
  return Passport::from_keys(std::move(out), Passport::Source::kGiven,
                             {Signature::Kind::kFree, ""});
}

}  // namespace passnorm::golden
