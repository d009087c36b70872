// The order of channels is nobody's: what writes them and what reads them can be reordered alike,
// and the network computes what it did before. A passport's bits and keys have an order.
//   y = V f(W x):  W -> P W, V -> V P^-1, and the norm's numbers between them as W's rows
// The owner's bits stand at other places, and his keys meet other inputs: a raw read finds about
// half of them (examine() reads the network as it is and looks for no order). A thief who draws his
// passport first chooses the order for his own bits: all but about sqrt(n) of n channels find a
// place with the bit that they have. What raw reads alone can never defend, as with gauge.cpp.
#include <algorithm>
#include <array>
#include <numeric>

#include "kernels/runtime/random.hpp"
#include "verify/attacks/rewrite.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"order", "forged", one_of("forged | random"), "forged: for bits of the thief's own | random"},
    {"signature", "Mallory", any_text(), "text that the thief's bits stand for"},
    {"shares", "0.5,1", numbers_in(0, 1), "shares of channels that change places"},
};

/// Channels that have one order: the layers that write them (a residual stream has several) and
/// those that read them.
struct ChannelSet {
  std::vector<std::string> writers, readers;
};

/// Layers one behind another.
void add_chain(const std::vector<std::string>& names, std::vector<ChannelSet>& to) {
  for (size_t i = 0; i + 1 < names.size(); ++i) to.push_back({{names[i]}, {names[i + 1]}});
}

/// The stream of a stage is written by its shortcut or by what came before, and by the end of every
/// block.
std::vector<ChannelSet> residual_sets(const Model& model) {
  std::vector<ChannelSet> sets = {{{"convbnrelu_1"}, {}}};
  size_t stream = 0;  // of `sets`
  for (const Layer& layer : model.layers()) {
    const std::string& name = layer.name;
    if (!name.ends_with(".convbnrelu_1")) continue;
    const std::string block = name.substr(0, name.rfind('.') + 1);
    const std::string last = block + "convbn_2", shortcut = block + "shortcut";
    sets[stream].readers.push_back(name);
    sets.push_back({{name}, {last}});
    if (std::ranges::find(model.layers(), shortcut, &Layer::name) == model.layers().end()) {
      sets[stream].writers.push_back(last);
      continue;
    }
    sets[stream].readers.push_back(shortcut);
    stream = sets.size();
    sets.push_back({{shortcut, last}, {}});
  }
  sets[stream].readers.push_back("linear");
  return sets;
}

/// From the input to the output: an order of a set never changes what stands before it.
std::vector<ChannelSet> channel_sets(const Model& model) {
  const std::string_view name = model.architecture().name;
  std::vector<ChannelSet> sets;
  if (name == "tiny") {
    add_chain({"conv1", "conv2", "conv3"}, sets);
    sets.push_back({{"conv3", "conv4"}, {"conv4", "linear"}});
  } else if (name == "alexnet") {
    add_chain({"features.0", "features.2", "features.4", "features.5", "features.6", "classifier"},
              sets);
  } else if (name.starts_with("resnet")) {
    return residual_sets(model);
  } else if (name == "pointnet") {
    for (const std::string net : {"stn", "fstn"})  // what they give is a matrix for other channels
      add_chain({net + ".conv1", net + ".conv2", net + ".conv3", net + ".fc1", net + ".fc2",
                 net + ".fc3"},
                sets);
    add_chain({"convp2", "convp3", "p1", "p2", "p3"}, sets);
  } else {
    fail(Fault::kUsage, "which layers of ", name, " share channels is not known here");
  }
  return sets;
}

/// Old place of the channel at each place.
using Order = std::vector<size_t>;

void reorder(Model& model, const ChannelSet& set, const Order& order) {
  const size_t channels = order.size();
  for (const std::string& layer : set.writers)
    for (const char* tensor : {".conv.weight", ".conv.bias", ".linear.weight", ".linear.bias",
                               ".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var"})
      change(model, layer + tensor, [&](std::vector<float>& v) {  // [C, ...]
        const std::vector<float> old = v;
        const size_t window = v.size() / channels;
        for (size_t i = 0; i < v.size(); ++i) v[i] = old[order[i / window] * window + i % window];
      });
  for (const std::string& layer : set.readers)
    for (const char* tensor : {".conv.weight", ".linear.weight", ".weight"})
      change(model, layer + tensor, [&](std::vector<float>& v) {  // [..., C]
        const std::vector<float> old = v;
        for (size_t i = 0; i < v.size(); ++i) v[i] = old[i - i % channels + order[i % channels]];
      });
}

/// Places that channels may change among themselves: group norm keeps the channels of a group
/// together.
size_t block_of(const Model& model, size_t channels) {
  const auto group = static_cast<size_t>(NormSpec().group_channels);
  const bool grouped = !model.options().folded && model.options().norm == kernels::NormKind::kGroup;
  return grouped ? channels / std::max<size_t>(channels / group, 1) : channels;
}

/// What the thief wants at a site: the signs that his passport reads now, and his bits.
struct Wanted {
  std::vector<float> scales;
  std::vector<int8_t> bits;
};

/// Gives each of `places` one of the channels that stand there, as long as there are some one whose
/// scale has the bit's sign.
void choose(const std::vector<size_t>& places, const std::vector<size_t>& shuffled,
            const Wanted& wanted, Order& order) {
  std::array<std::vector<size_t>, 2> channels;  // scales that are not positive, and that are
  for (const size_t c : shuffled) channels[wanted.scales[c] > 0].push_back(c);
  std::vector<size_t> open = places;
  for (const bool fitting : {true, false}) {
    std::vector<size_t> left;
    for (const size_t place : open) {
      auto& from = channels[(wanted.bits[place] > 0) == fitting];
      if (from.empty()) {
        left.push_back(place);
        continue;
      }
      order[place] = from.back();
      from.pop_back();
    }
    open = std::move(left);
  }
}

int64_t channels_of(Model& model, const ChannelSet& set) {
  for (const char* weight : {".conv.weight", ".linear.weight"})
    if (const Parameter* p = model.parameters().find(set.writers[0] + weight))
      return p->spec.shape[0];
  fail(Fault::kBug, "no layer ", set.writers[0]);
}

/// What the thief wants where the set's channels have one order only: at the first of its sites.
std::optional<Wanted> wanted_of(const AttackInput& input, const Model& suspect,
                                const ChannelSet& set, const Passport& forged) {
  const std::vector<SitePassport>& sites = forged.sites();
  for (const std::string& writer : set.writers)
    for (size_t i = 0; i < sites.size(); ++i)
      if (sites[i].site.name == writer)
        return Wanted{raw_scales(*before_judge(input, suspect), forged)[i],
                      {sites[i].bits.begin(), sites[i].bits.end()}};
  return {};
}

/// The order of a share of the set's channels: the thief's where he wants one, else a random one.
Order order_of(Model& model, const ChannelSet& set, const std::optional<Wanted>& wanted,
               double share, uint64_t seed, uint32_t stream) {
  const int64_t channels = channels_of(model, set);
  const Random chosen(seed, Purpose::kAttack, stream);
  const std::vector<int64_t> shuffled = random_choice(channels, channels, seed, stream + 1);
  Order order(static_cast<size_t>(channels));
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t block = block_of(model, order.size());
  for (size_t first = 0; first < order.size(); first += block) {
    std::vector<size_t> places, drawn;
    for (size_t c = first; c < first + block; ++c)
      if (chosen.uniform(c) < share) places.push_back(c);
    for (const int64_t c : shuffled)
      if (std::ranges::binary_search(places, static_cast<size_t>(c)))
        drawn.push_back(static_cast<size_t>(c));
    if (wanted)
      choose(places, drawn, *wanted, order);
    else
      for (size_t i = 0; i < places.size(); ++i) order[places[i]] = drawn[i];
  }
  return order;
}

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  const bool forge = settings.text("order") == "forged";
  const std::vector<double> shares = settings.numbers("shares");
  const Passport forged = forged_passport(input, settings.text("signature"));
  const std::vector<ChannelSet> sets = channel_sets(*stolen_copy(input));
  const auto reorder_share = [&](Model& suspect, double share) {
    uint32_t stream = kPermuteStream;
    for (const ChannelSet& set : sets) {
      report_progress(input, concat("share ", share, ", channels of ", set.writers[0]));
      const auto wanted = forge ? wanted_of(input, suspect, set, forged) : std::nullopt;
      reorder(suspect, set, order_of(suspect, set, wanted, share, input.seed, stream));
      stream += 2;
    }
  };
  return rewrite_shares(input, "share of channels moved", shares, forge ? &forged : nullptr,
                        reorder_share);
}

}  // namespace

Attack permute_attack() {
  return {.name = "permute",
          .description = "channels in another order: another's bits, the same function",
          .source = "beyond the two papers: Yan et al. (KDD 2022, arXiv 2205.00199)",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
