#include "cli/report_pool.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "cli/report_cells.hpp"
#include "cli/report_names.hpp"
#include "kernels/runtime/check.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

BranchAccuracy mean_accuracy(const Cells<BranchAccuracy>& cells, std::optional<int64_t> images) {
  return {mean_share(
              cells, [](const BranchAccuracy& a) { return a.released; }, images),
          mean_share(
              cells, [](const BranchAccuracy& a) { return a.passport; }, images)};
}

// --- claims

std::string verdict_of(const std::vector<const ClaimRecord*>& claims) {
  using verify::Verdict;
  std::string text;
  for (const Verdict verdict :
       {Verdict::kSupported, Verdict::kInconclusive, Verdict::kNotSupported}) {
    const std::string name(name_of(verdict));
    const auto n = std::ranges::count(claims, name, &ClaimRecord::verdict);
    if (n == std::ssize(claims)) return name;
    if (n > 0) text += concat(text.empty() ? "" : ", ", name, " ", n);
  }
  return text;
}

/// Of the same network's sites, by their names.
std::vector<SiteBits> sites_of(const Cells<ClaimRecord>& cells) {
  std::vector<SiteBits> sites = all(cells).front()->sites;
  for (SiteBits& site : sites) {
    const auto of = [&](int64_t SiteBits::*value) {
      return count(cells, [&](const ClaimRecord& c) {
        const auto it = std::ranges::find(c.sites, site.name, &SiteBits::name);
        return it == c.sites.end() ? 0 : (*it).*value;
      });
    };
    const int64_t matched = of(&SiteBits::matched), total = of(&SiteBits::total);
    site.matched = matched;
    site.total = total;
  }
  return sites;
}

std::optional<NullAccuracy> null_of(const Cells<ClaimRecord>& claims) {
  const auto cells =
      parts<NullAccuracy>(claims, [](const ClaimRecord& c) { return address(c.null); });
  const auto nulls = all(cells);
  if (nulls.empty()) return {};
  NullAccuracy out{
      .images = nulls[0]->images,
      .owner = mean(cells, [](const auto& n) { return std::optional<Measured>(n.owner); })->value,
      .mean = mean(cells, [](const auto& n) { return std::optional<Measured>(n.mean); })->value};
  for (const NullAccuracy* n : nulls) {
    out.passports += n->passports;
    out.best = std::max(out.best, n->best);
    out.histogram.resize(std::max(out.histogram.size(), n->histogram.size()));
    for (size_t i = 0; i < n->histogram.size(); ++i) out.histogram[i] += n->histogram[i];
  }
  return out;
}

/// The least; none where one does not say.
std::optional<int64_t> images_of(const std::vector<const ClaimRecord*>& claims) {
  return (*std::ranges::min_element(claims, {}, &ClaimRecord::images))->images;
}

/// images: where the claims do not say how many.
ClaimRecord claim_of(const Cells<ClaimRecord>& cells, std::optional<int64_t> images) {
  const std::vector<const ClaimRecord*> claims = all(cells);
  if (const auto said = images_of(claims)) images = said;
  ClaimRecord c{
      .verdict = verdict_of(claims),
      .bits_bound =
          std::ranges::all_of(claims, [](const auto* claim) { return claim->bits_bound; }),
      .matched = count(cells, [](const ClaimRecord& claim) { return claim.matched; }),
      .total = count(cells, [](const ClaimRecord& claim) { return claim.total; }),
      .fixed_count =
          std::ranges::any_of(claims, [](const auto* claim) { return claim->fixed_count; }),
      .log2_p =
          mean(cells, [](const ClaimRecord& claim) { return std::optional(claim.corrected()); })
              ->value,
      .sites = sites_of(cells),
      .accuracy = mean_accuracy(
          parts<BranchAccuracy>(cells, [](const ClaimRecord& claim) { return &claim.accuracy; }),
          images),
      .images = images,
      .null = null_of(cells)};
  if (claims.size() > 1) {
    const auto [least, most] = std::ranges::minmax(
        claims, {}, [](const ClaimRecord* claim) { return claim->corrected().value; });
    c.log2_range = {least->corrected().value, most->corrected().value};
  }
  return c;
}

// --- attacks

/// Of random passports: of all networks' the best.
bool is_best(std::string_view metric) {
  return metric.ends_with(", best") || metric.ends_with(", best of sample");
}

PointRecord point_of(const Cells<PointRecord>& cells, const AttackRecord& attack) {
  const std::vector<const PointRecord*> points = all(cells);
  PointRecord p{.x = points[0]->x,
                .owner = claim_of(parts<ClaimRecord>(
                                      cells, [](const PointRecord& point) { return &point.owner; }),
                                  attack.test_images)};
  const auto forgers =
      parts<ClaimRecord>(cells, [](const PointRecord& point) { return address(point.forger); });
  if (!all(forgers).empty()) p.forger = claim_of(forgers, attack.test_images);
  const auto triggers = parts<BranchAccuracy>(
      cells, [](const PointRecord& point) { return address(point.triggers); });
  if (!all(triggers).empty()) p.triggers = mean_accuracy(triggers, attack.trigger_images);
  const auto pooled = [&](const std::string& name) -> Measured {
    const auto get = [&](const PointRecord& point) { return point.metric(name); };
    if (name == "stolen accuracy") return *mean_share(cells, get, attack.test_images);
    if (!is_best(name)) return *mean(cells, get);
    double best = -std::numeric_limits<double>::infinity();
    for (const PointRecord* point : points)
      if (const auto value = get(*point)) best = std::max(best, value->value);
    return best;
  };
  for (const PointRecord* point : points)
    for (const auto& [name, value] : point->metrics)
      if (!p.metric(name)) p.metrics.emplace_back(name, pooled(name));
  return p;
}

/// The points of equal strength of all documents, in the order of the first one's.
std::vector<PointRecord> points_of(const Cells<AttackRecord>& attacks) {
  struct Strength {
    double x;
    Cells<PointRecord> cells;
  };
  std::vector<Strength> strengths;
  for (size_t network = 0; network < attacks.size(); ++network)
    for (const AttackRecord* attack : attacks[network]) {
      const bool first = strengths.empty();
      size_t from = 0;  // strengths behind those of the points before
      for (const PointRecord& p : attack->points) {
        size_t at = first ? strengths.size() : from;
        while (at < strengths.size() && strengths[at].x != p.x) ++at;
        if (at == strengths.size())
          strengths.push_back({p.x, Cells<PointRecord>(attacks.size())});
        else
          from = at + 1;
        strengths[at].cells[network].push_back(&p);
      }
    }
  std::vector<PointRecord> points;
  for (const Strength& s : strengths) points.push_back(point_of(s.cells, *all(attacks).front()));
  return points;
}

/// What one of them does not say, as an older document, does not tell them apart. Triggers are the
/// owner's, each network's may be of its own.
bool differ_in_seeds(const AttackRecord& a, const AttackRecord& b) {
  const auto key = [](const AttackRecord& r) {
    return std::tie(r.name, r.settings, r.axis, r.data, r.limit_train, r.limit_test);
  };
  const auto equal = [](const auto& x, const auto& y) { return x.empty() || y.empty() || x == y; };
  const auto equal_links = [&](const AttackLink& x, const AttackLink& y) {
    return x.name == y.name && equal(x.settings, y.settings);
  };
  return key(a) == key(b) && equal(a.other_data, b.other_data) &&
         (!a.batch || !b.batch || a.batch == b.batch) &&
         a.trigger_images.has_value() == b.trigger_images.has_value() &&
         std::ranges::equal(a.chain, b.chain, equal_links);
}

std::vector<AttackRecord> attacks_of(const std::vector<const RunRecord*>& networks) {
  std::vector<Cells<AttackRecord>> groups;
  for (size_t i = 0; i < networks.size(); ++i)
    for (const AttackRecord& attack : networks[i]->attacks) {
      auto group = std::ranges::find_if(groups, [&](const Cells<AttackRecord>& g) {
        return differ_in_seeds(*all(g).front(), attack);
      });
      if (group == groups.end())
        group = groups.insert(groups.end(), Cells<AttackRecord>(networks.size()));
      (*group)[i].push_back(&attack);
    }
  std::vector<AttackRecord> out;
  for (const Cells<AttackRecord>& group : groups) {
    const auto attacks = all(group);
    AttackRecord a = *attacks.front();
    std::set<int64_t> seeds;
    for (const AttackRecord* other : attacks)
      seeds.insert(other->seeds.begin(), other->seeds.end());
    a.seeds.assign(seeds.begin(), seeds.end());
    a.documents = std::ssize(attacks);
    a.points = points_of(group);
    out.push_back(std::move(a));
  }
  return out;
}

// --- runs

/// Of training settings those that tell experiments apart.
std::vector<std::pair<std::string, std::string>> experiment(const RunRecord& run) {
  constexpr std::string_view kSeedsAndMachine[] = {"seed",   "secret",  "checkpoint-keep",
                                                   "device", "threads", "engines"};
  auto settings = run.settings;
  std::erase_if(settings, [&](const auto& s) {
    return std::ranges::find(kSeedsAndMachine, s.first) != std::end(kSeedsAndMachine);
  });
  return settings;
}

/// What is not known of one of them, as of a folder of attacks alone, does not tell them apart.
bool differ_in_seeds(const RunRecord& a, const RunRecord& b) {
  const auto equal = [](const auto& x, const auto& y) { return x.empty() || y.empty() || x == y; };
  return !a.architecture.empty() && a.architecture == b.architecture && a.scheme == b.scheme &&
         a.norm == b.norm && equal(a.data, b.data) && equal(a.sites, b.sites) &&
         (a.classes == 0 || b.classes == 0 || a.classes == b.classes) &&
         equal(experiment(a), experiment(b));
}

std::vector<EpochRecord> epochs_of(const std::vector<const RunRecord*>& networks) {
  std::map<int64_t, Cells<EpochRecord>> epochs;
  for (size_t i = 0; i < networks.size(); ++i)
    for (const EpochRecord& e : networks[i]->epochs) {
      auto& cells = epochs[e.epoch];
      cells.resize(networks.size());
      cells[i].push_back(&e);
    }
  std::vector<EpochRecord> out;
  for (const auto& epoch : epochs) {
    const Cells<EpochRecord>& cells = epoch.second;
    const auto of = [&](auto member) {
      return mean(cells, [&](const EpochRecord& e) { return e.*member; });
    };
    const auto accuracy = [&](BranchAccuracy EpochRecord::*member) {
      return mean_accuracy(
          parts<BranchAccuracy>(cells, [&](const EpochRecord& e) { return &(e.*member); }), {});
    };
    std::vector<std::pair<std::string, Measured>> sites;
    for (const EpochRecord* e : all(cells))
      for (const auto& [name, value] : e->sites)
        if (std::ranges::find(sites, name, [](const auto& s) { return s.first; }) == sites.end())
          sites.emplace_back(name, *mean_share(cells, [&key = name](const EpochRecord& other) {
                               return other.site(key);
                             }));
    out.push_back({.epoch = epoch.first,
                   .loss_public = of(&EpochRecord::loss_public),
                   .loss_passport = of(&EpochRecord::loss_passport),
                   .sign_loss = of(&EpochRecord::sign_loss),
                   .bits = mean_share(cells, [](const EpochRecord& e) { return e.bits; }),
                   .sites = std::move(sites),
                   .train = accuracy(&EpochRecord::train),
                   .test = accuracy(&EpochRecord::test),
                   .triggers = accuracy(&EpochRecord::triggers)});
  }
  return out;
}

/// Where they differ, one after another.
std::vector<std::pair<std::string, std::string>> settings_of(
    const std::vector<const RunRecord*>& networks) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const RunRecord* run : networks)
    for (const auto& [name, value] : run->settings) {
      const auto known = std::ranges::find(out, name, [](const auto& s) { return s.first; });
      if (known == out.end())
        out.emplace_back(name, value);
      else if ((", " + known->second + ", ").find(", " + value + ", ") == std::string::npos)
        known->second += ", " + value;
    }
  return out;
}

RunRecord pool_of(const std::vector<RunRecord>& runs, std::vector<size_t> members) {
  std::vector<const RunRecord*> networks;
  for (const size_t i : members) networks.push_back(&runs[i]);
  RunRecord pool{.members = std::move(members),
                 .architecture = networks[0]->architecture,
                 .scheme = networks[0]->scheme,
                 .norm = networks[0]->norm,
                 .sha256 = networks[0]->sha256,
                 .settings = settings_of(networks),
                 .epochs = epochs_of(networks),
                 .attacks = attacks_of(networks)};
  Cells<ClaimRecord> claims;
  for (const RunRecord* run : networks) {
    pool.folders.insert(pool.folders.end(), run->folders.begin(), run->folders.end());
    if (pool.data.empty()) pool.data = run->data;
    if (pool.classes == 0) pool.classes = run->classes;
    if (pool.sites.empty()) pool.sites = run->sites;
    if (run->claim) claims.push_back({&*run->claim});
  }
  if (!claims.empty()) pool.claim = claim_of(claims, {});
  sort_attacks(pool.attacks);
  name_attacks(pool.attacks);
  return pool;
}

}  // namespace

const std::string_view kIntervals =
    "Networks that differ in their seeds alone are one line: accuracies are means, their 95% "
    "intervals Student's over the networks (of one network attacked with several seeds, over "
    "these, where they differ). The accuracy of a single network has Wilson's interval, for the "
    "number of test images; none is shown where that is not known. Bits are counted over the "
    "networks, with the interval of Clopper and Pearson, which is exact if bits fail independently "
    "of each other; those of one network need not. What flip leaves of them has none: how many "
    "signs it turns is its setting. Of log2 p the mean is shown, with the least and the most; of "
    "random passports that are called the best, the best of all.";

void pool_runs(ReportData& data) {
  std::vector<std::vector<size_t>> pools;
  for (size_t i = 0; i < data.runs.size(); ++i) {
    const auto pool = std::ranges::find_if(pools, [&](const std::vector<size_t>& members) {
      return std::ranges::all_of(
          members, [&](size_t m) { return differ_in_seeds(data.runs[m], data.runs[i]); });
    });
    if (pool == pools.end())
      pools.push_back({i});
    else
      pool->push_back(i);
  }
  if (pools.size() > kMostPools)
    fail(Fault::kUsage, pools.size(), " networks: a report compares at most ", kMostPools,
         " (those that differ in their seeds alone are one)");
  name_runs(data.runs);
  data.pools.clear();
  for (std::vector<size_t>& members : pools)
    data.pools.push_back(pool_of(data.runs, std::move(members)));
  name_runs(data.pools);
}

}  // namespace passnorm::cli
