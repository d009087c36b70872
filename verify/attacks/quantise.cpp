#include "verify/attacks/quantise.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/runtime/dtype.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr std::array kFormats = {WeightFormat{"bf16", 16, 8}, WeightFormat{"f16", 16, 5},
                                 WeightFormat{"8", 8},        WeightFormat{"6", 6},
                                 WeightFormat{"5", 5},        WeightFormat{"4", 4},
                                 WeightFormat{"3", 3},        WeightFormat{"2", 2}};

constexpr AttackSetting kSettings[] = {
    {"formats", "bf16,f16,8,6,5,4", some_of("bf16 | f16 | 8 | 6 | 5 | 4 | 3 | 2"),
     "of weights: bf16, f16, or bits of an integer (2-6, 8)"},
};

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  AttackResult result{.axis = "bits taken from each weight"};
  result.points.push_back(measure_untouched(input));
  for (const std::string& name : settings.texts("formats")) {
    report_progress(input, concat("format ", name));
    const auto it = std::ranges::find(kFormats, name, &WeightFormat::name);
    PASSNORM_CHECK(it != kFormats.end(), "no format ", name);
    const WeightFormat& format = *it;
    auto suspect = stolen_copy(input);
    for (const Parameter& p : suspect->parameters().parameters()) {
      if (p.spec.shape.rank() < 2) continue;  // scales, shifts and biases are few
      std::vector<float> w = p.var.value.to_host(suspect->stream());
      round_weights(w, p.spec.shape[0], format);
      p.var.value.copy_from<float>(suspect->stream(), w);
    }
    AttackPoint point = measure_suspect(input, *suspect, 32 - format.bits);
    point.metrics.emplace_back("bits", format.bits);
    point.metrics.emplace_back("exponent bits", format.exponent_bits);
    result.points.push_back(std::move(point));
    result.stolen = std::move(suspect);
  }
  return result;
}

}  // namespace

std::span<const WeightFormat> weight_formats() { return kFormats; }

void round_weights(std::span<float> w, int64_t outputs, const WeightFormat& format) {
  const size_t window = w.size() / static_cast<size_t>(outputs);
  if (format.name == "bf16") {
    for (float& v : w) v = static_cast<float>(bfloat16(v));
    return;
  }
  if (format.name == "f16") {
    for (float& v : w) v = static_cast<float>(float16(v));
    return;
  }
  const auto levels = static_cast<float>((1 << (format.bits - 1)) - 1);
  for (size_t o = 0; o < static_cast<size_t>(outputs); ++o) {
    const std::span<float> row = w.subspan(o * window, window);
    float most = 0;
    for (const float v : row) most = std::max(most, std::abs(v));
    const float step = most / levels;
    if (!std::isnormal(step)) continue;
    for (float& v : row) v = step * std::clamp(std::nearbyint(v / step), -levels, levels);
  }
}

Attack quantise_attack() {
  return {.name = "quantise",
          .description = "weights rounded to fewer bits",
          .source = "beyond the two papers: as in Lukas et al., SoK (S&P 2022)",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
