// What the tests of exported networks share: networks that are hard to fold, and what rounding may
// do to their logits.
#pragma once

#include <algorithm>
#include <cmath>

#include "models/export.hpp"
#include "tests/support/networks.hpp"
#include "tests/support/tolerance.hpp"

namespace passnorm::test {

inline const models::InputNormalisation kNormalisation{{0.49f, 0.48f, 0.45f},
                                                       {0.25f, 0.24f, 0.26f}};

/// Every so many channels: a negative scale, one of zero, a variance no larger than eps.
inline void make_awkward(Model& model) {
  unsettle(model);
  const auto set = [&](const TensorSpec& spec, const Tensor& value, size_t first, float to) {
    std::vector<float> v = value.to_host(model.stream());
    for (size_t i = first; i < v.size(); i += 16) v[i] = to * (to < 0 ? v[i] : 1);
    value.copy_from<float>(model.stream(), v);
    ASSERT_EQ(spec.shape.rank(), 1);
  };
  for (const Parameter& p : model.parameters().parameters())
    if (p.spec.name.ends_with(".bn.weight") || p.spec.name.ends_with(".scale")) {
      set(p.spec, p.var.value, 3, -1);
      set(p.spec, p.var.value, 7, 0);
    }
  for (const Buffer& b : model.parameters().buffers())
    if (b.spec.name.ends_with(".running_var")) set(b.spec, b.value, 5, 1e-5f);
}

struct Network {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  Branch branch = Branch::kPublic;  ///< that is released

  const Passport* affine() const { return branch == Branch::kPassport ? &*passport : nullptr; }
  std::vector<float> logits(const Tensor& x) const {
    return test::logits(*model, affine(), branch, x);
  }
};

inline Network network(std::string_view architecture, std::string_view scheme,
                       std::string_view sites = "last", const ModelOptions& more = {}) {
  ModelOptions options = more;
  options.classes = 7;
  options.plan = PassportPlan::of(scheme, sites);
  Network n{models::make(architecture, options, network_stream()), {}, {}};
  make_awkward(*n.model);
  if (!n.model->sites().empty()) {
    n.passport = Passport::random(n.model->sites(), secret(5), Signature::from_text("owner"));
    models::take_lane_state(*n.model, *n.passport);
  }
  if (!n.model->has_branch(Branch::kPublic)) n.branch = Branch::kPassport;
  return n;
}

/// What rounding may do to the logits of two computations of the network. A sum of K products comes
/// out as the exact one of weights that are off by gamma(K) relatively; that is done to every
/// weight, with random signs, three times; the largest change counts once for either computation.
inline double rounding_of_logits(const Network& n, const Tensor& x) {
  Stream& stream = n.model->stream();
  const std::vector<float> exact = n.logits(x);
  double most = 0;
  for (uint64_t trial = 1; trial <= 3; ++trial) {
    std::vector<std::pair<Tensor, std::vector<float>>> before;
    for (const Parameter& p : n.model->parameters().parameters()) {
      if (p.spec.shape.rank() < 2 || p.spec.secret) continue;
      std::vector<float> w = p.var.value.to_host(stream);
      before.emplace_back(p.var.value, w);
      const Random random(trial, Purpose::kTest, static_cast<uint32_t>(before.size()));
      const double window = static_cast<double>(w.size()) / static_cast<double>(p.spec.shape[0]);
      const double g = gamma(window, unit_roundoff(DType::kF32));
      for (size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<float>(w[i] * (1 + (random.uniform(i) < 0.5f ? -g : g)));
      p.var.value.copy_from<float>(stream, w);
    }
    const std::vector<float> moved = n.logits(x);
    for (size_t i = 0; i < exact.size(); ++i)
      most = std::max(most, std::abs(double{moved[i]} - double{exact[i]}));
    for (const auto& [value, w] : before) value.copy_from<float>(stream, w);
  }
  return 2 * most;
}

inline testing::AssertionResult same_function(const std::vector<float>& expected,
                                              const std::vector<float>& actual, double tolerance) {
  if (expected.size() != actual.size())
    return testing::AssertionFailure() << expected.size() << " and " << actual.size() << " logits";
  const auto [least, most] = std::ranges::minmax(expected);
  if (!(tolerance < 1e-2 * (double{most} - double{least})))
    return testing::AssertionFailure() << "a blind comparison: tolerance " << tolerance
                                       << ", logits from " << least << " to " << most;
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(double{expected[i]} - double{actual[i]}) <= tolerance))
      return testing::AssertionFailure() << "logit " << i << " is " << actual[i] << ", expected "
                                         << expected[i] << " +- " << tolerance;
  return testing::AssertionSuccess();
}

}  // namespace passnorm::test
