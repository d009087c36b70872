// Rewrites that leave the network's function as it is. Batch norm undoes any real factor a != 0 of
// a channel of the convolution before it,
//   W[c] -> a W[c],  mean -> a mean,  var -> a^2 var,
//   scale -> scale sqrt(a^2 var + eps) / (a sqrt(var + eps)),
// and a passport's raw scale, which is linear in W[c], is multiplied by a: its sign is whatever the
// thief wants. What raw scales alone can never defend.
#include <cmath>

#include "kernels/runtime/random.hpp"
#include "verify/attacks/rewrite.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"bits", "forged", one_of("forged | random"),
     "forged: the thief's own, at the owner's sites | random: in every layer"},
    {"signature", "Mallory", any_text(), "text that the thief's bits stand for"},
    {"shares", "0.5,1", numbers_in(0, 1), "shares of channels that are rewritten"},
    {"spread", "0.5", number_in(0, 3), "standard deviation of the factors' logarithm"},
};

constexpr std::string_view kScale = ".bn.weight";

/// Layers with batch norm and an affine: their names and channels.
std::vector<std::pair<std::string, int64_t>> rewritable(const Model& model) {
  std::vector<std::pair<std::string, int64_t>> layers;
  for (const Parameter& p : model.parameters().parameters())
    if (p.spec.name.ends_with(kScale))
      layers.emplace_back(p.spec.name.substr(0, p.spec.name.size() - kScale.size()),
                          p.spec.shape.size());
  return layers;
}

/// Factor a[c] of channel c; 1: the channel stays as it is.
void rewrite(Model& model, const std::string& layer, const std::vector<double>& a) {
  const auto multiply = [&](std::vector<float>& v, int power) {
    const size_t window = v.size() / a.size();
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = static_cast<float>(v[i] * std::pow(a[i / window], power));
  };
  const double eps = NormSpec().eps;
  std::vector<float> var;
  change(model, layer + ".bn.running_var", [&](std::vector<float>& v) {
    var = v;
    multiply(v, 2);
  });
  change(model, layer + ".bn.weight", [&](std::vector<float>& v) {
    for (size_t c = 0; c < v.size(); ++c) {
      const double norm =  // PointNet's last layer has an affine without a norm
          var.empty() ? 1 : std::sqrt((a[c] * a[c] * var[c] + eps) / (var[c] + eps));
      v[c] = static_cast<float>(v[c] * norm / a[c]);
    }
  });
  for (const char* tensor :
       {".conv.weight", ".conv.bias", ".linear.weight", ".linear.bias", ".bn.running_mean"})
    change(model, layer + tensor, [&](std::vector<float>& v) { multiply(v, 1); });
}

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  const bool forged_bits = settings.text("bits") == "forged";
  const std::vector<double> shares = settings.numbers("shares");
  const double spread = settings.number("spread");
  if (input.model.options().folded || input.model.options().norm != kernels::NormKind::kBatch)
    fail(Fault::kUsage, "the rewrite needs batch norm behind the convolutions; this network has ",
         input.model.options().folded ? "none (it is folded)"
                                      : passnorm::name_of(input.model.options().norm));

  const Passport forged = forged_passport(input, settings.text("signature"));
  // Which sign each scale of the forger's has to take.
  std::map<std::string, std::vector<double>> turn;
  const auto raw = raw_scales(*before_judge(input, *stolen_copy(input)), forged);
  for (size_t i = 0; i < raw.size(); ++i) {
    const SitePassport& site = forged.sites()[i];
    for (size_t c = 0; c < raw[i].size(); ++c)
      turn[site.site.name].push_back(raw[i][c] * static_cast<float>(site.bits[c]) < 0 ? -1 : 1);
  }

  const auto rewrite_share = [&](Model& suspect, double share) {
    report_progress(input, concat("share ", share));
    uint32_t stream = kGaugeStream;
    for (const auto& [layer, channels] : rewritable(suspect)) {
      const Random chosen(input.seed, Purpose::kAttack, stream++),
          factor(input.seed, Purpose::kAttack, stream++),
          sign(input.seed, Purpose::kAttack, stream++);
      if (forged_bits && !turn.contains(layer)) continue;
      std::vector<double> a(static_cast<size_t>(channels), 1);
      for (size_t c = 0; c < a.size(); ++c) {
        if (chosen.uniform(c) >= share) continue;
        const double wanted = forged_bits ? turn[layer][c] : (sign.word(c) & 1 ? 1 : -1);
        a[c] = wanted * std::exp(spread * factor.normal(c));
      }
      rewrite(suspect, layer, a);
    }
  };
  return rewrite_shares(input, "share of channels rewritten", shares,
                        forged_bits ? &forged : nullptr, rewrite_share);
}

}  // namespace

Attack gauge_attack() {
  return {.name = "gauge",
          .description = "channels rewritten behind batch norm: another's bits, the same function",
          .source = "beyond the two papers: Yan et al. (KDD 2022, arXiv 2205.00199)",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
