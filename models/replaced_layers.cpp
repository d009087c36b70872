#include "models/replaced_layers.hpp"

#include <algorithm>

namespace passnorm::models {
namespace {

/// replaced(site): its layer has another number of outputs.
template <class F>
Passport without(const Passport& passport, F replaced) {
  std::vector<SitePassport> kept;
  std::vector<Site> sites;
  for (const SitePassport& s : passport.sites()) {
    if (s.site.kind == Site::Kind::kLinear && replaced(s.site)) continue;
    kept.push_back(s);
    sites.push_back(s.site);
  }
  if (kept.empty() || kept.size() == passport.sites().size()) return passport;
  Passport rest = passport.source() == Passport::Source::kRandom && passport.bits_bound()
                      ? Passport::random(sites, passport.seed(), passport.signature())
                      : Passport::from_keys(std::move(kept), Passport::Source::kGiven,
                                            {Signature::Kind::kFree, ""});
  rest.scheme = passport.scheme;
  rest.lane_state = passport.lane_state;
  return rest;
}

std::string weight_of(const Site& site) { return site.name + ".linear.weight"; }

}  // namespace

Passport without_replaced_layers(const Passport& passport, const Model& network) {
  return without(passport, [&](const Site& site) {
    return std::ranges::any_of(network.parameters().parameters(), [&](const Parameter& p) {
      return p.spec.name == weight_of(site) && p.spec.shape[0] != site.channels();
    });
  });
}

Passport without_replaced_layers(const Passport& passport, const SafeTensors& network) {
  return without(passport, [&](const Site& site) {
    const TensorInfo* weight = network.find(weight_of(site));
    return weight && weight->shape.size() == 2 && weight->shape[0] != site.channels();
  });
}

}  // namespace passnorm::models
