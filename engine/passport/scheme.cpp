#include "engine/passport/scheme.hpp"

#include <algorithm>
#include <array>

#include "engine/io/text.hpp"

namespace passnorm {
namespace {

constexpr std::string_view kDeepIpr = "Fan, Ng, Chan: DeepIPR (NeurIPS 2019, TPAMI 2021)";
constexpr std::string_view kPan = "Zhang et al.: Passport-aware Normalization (NeurIPS 2020)";

constexpr std::array kSchemes = {
    Scheme{.name = "none", .source = "", .passport = false},
    Scheme{.name = "deepipr-v1", .source = kDeepIpr, .public_lane = false},
    Scheme{.name = "deepipr-v2", .source = kDeepIpr},
    Scheme{.name = "deepipr-v3", .source = kDeepIpr, .triggers = true},
    Scheme{.name = "pan",
           .source = kPan,
           .gate = true,
           .lane_statistics = true,
           .lane_transforms = true},
    Scheme{.name = "pan-nose-bn", .source = kPan, .lane_statistics = true, .lane_transforms = true},
    Scheme{.name = "pan-sbn", .source = kPan, .lane_transforms = true},
    Scheme{.name = "pan-sbn-se", .source = kPan, .gate = true, .lane_transforms = true},
};

}  // namespace

std::span<const Scheme> schemes() { return kSchemes; }

const Scheme& scheme(std::string_view name, std::span<const Scheme> own) {
  const auto same = [](char a, char b) { return (a == '_' ? '-' : a) == (b == '_' ? '-' : b); };
  std::string known;
  for (const std::span<const Scheme> rows : {own, schemes()})
    for (const Scheme& s : rows) {
      if (std::ranges::equal(s.name, name, same)) return s;
      known += concat(known.empty() ? "" : ", ", s.name);
    }
  fail(Fault::kUsage, "unknown scheme ", quote(name), "; known: ", known);
}

PassportPlan PassportPlan::of(std::string_view scheme_name, std::string_view sites) {
  PassportPlan plan{.scheme = &passnorm::scheme(scheme_name), .sites = {}};
  for (size_t at = 0; at <= sites.size();) {
    const size_t end = std::min(sites.find(',', at), sites.size());
    if (end == at) fail(Fault::kUsage, "empty site pattern in \"", sites, "\"");
    plan.sites.emplace_back(sites.substr(at, end - at));
    at = end + 1;
  }
  return plan;
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, star_n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_n = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_n;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace passnorm
