// Random passports in bulk. A raw scale is linear in the key's digest, so the scales that thousands
// of keys give are one matrix product per site, and no forward pass is needed for bits.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/elementwise.hpp"
#include "kernels/gemm.hpp"
#include "models/copy.hpp"
#include "train/key_images.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"count", "10000", integer_in(1, 10'000'000), "random passports"},
    {"keys", "random", one_of("random | image | shuffle"),
     "random: uniform | image, shuffle: what the stolen network computes of test pictures"},
    {"pictures", "20", integer_in(1, 10'000), "that a shuffle key is made of"},
    {"sample", "20", integer_in(0, 10'000'000),
     "how many of them, at most, have their accuracy measured"},
    {"sample-images", "1000", integer_in(0, int64_t{1} << 31),
     "how much of the test set each of these sees; 0 = all"},
};

using Forge = std::function<Passport(int64_t)>;

/// Bits that a forged passport matches: the owner's, and those that were drawn with it.
struct Matches {
  std::vector<int64_t> owner, own;
};

const Convolution& layer_of(const Model& model, const Site& site) {
  const auto& layers = model.layers();
  const auto it = std::ranges::find(layers, site.name, &Layer::name);
  PASSNORM_CHECK(it != layers.end(), "no layer ", site.name);
  return it->convolution;
}

/// Raw scales [rows, C] of digests [rows, K]. To a linear layer's its bias is added.
std::vector<float> scales_of(const Model& model, const Site& site, const Tensor& digests) {
  Stream& stream = model.stream();
  const Convolution& layer = layer_of(model, site);
  const int64_t rows = digests.shape()[0];
  const Tensor scales = Tensor::empty(stream, {rows, site.channels()});
  dispatch(stream, [&](auto& s) {
    kernels::gemm(s, {.m = rows,
                      .n = site.channels(),
                      .k = digests.shape()[1],
                      .a = digests.view(),
                      .b = layer.weight().value.view(),
                      .y = scales.view(),
                      .transpose_b = true});
  });
  std::vector<float> out = scales.to_host(stream);
  if (site.kind == Site::Kind::kLinear) {
    const std::vector<float> bias = layer.bias().value.to_host(stream);
    for (size_t i = 0; i < out.size(); ++i) out[i] += bias[i % bias.size()];
  }
  return out;
}

/// What a chunk of passports holds at one site.
struct Chunk {
  Tensor digests;            ///< [rows, K]
  std::vector<int8_t> bits;  ///< [rows, C], drawn with the keys
};

Matches match(Model& model, const Passport& owner, int64_t count, const Forge& forge,
              const AttackInput& input) {
  constexpr int64_t kRows = 256;
  Stream& stream = model.stream();
  const std::vector<Site>& sites = model.sites();
  Matches matches{std::vector<int64_t>(static_cast<size_t>(count)),
                  std::vector<int64_t>(static_cast<size_t>(count))};
  for (int64_t first = 0; first < count; first += kRows) {
    report_progress(input, concat("passport ", first, " of ", count));
    const int64_t rows = std::min(kRows, count - first);
    std::vector<Chunk> chunks;
    for (int64_t row = 0; row < rows; ++row) {
      const Passport passport = forge(first + row);
      const OpenPassport open = model.open(passport);
      for (size_t i = 0; i < sites.size(); ++i) {
        const Tensor& digest = open.digest(i).value;  // [2, K]: of the scale key first
        const int64_t window = digest.shape()[1];
        if (row == 0) chunks.push_back({Tensor::empty(stream, {rows, window}), {}});
        dispatch(stream, [&](auto& s) {
          kernels::cast(s, {.x = digest.slice(0, {window}).view(),
                            .y = chunks[i].digests.slice(row * window, {window}).view()});
        });
        const auto& bits = passport.sites()[i].bits;
        chunks[i].bits.insert(chunks[i].bits.end(), bits.begin(), bits.end());
      }
    }
    for (size_t i = 0; i < sites.size(); ++i) {
      const auto& fixed = owner.sites()[i].bits;
      const std::vector<float> scales = scales_of(model, sites[i], chunks[i].digests);
      for (size_t k = 0; k < scales.size(); ++k) {
        const size_t passport = static_cast<size_t>(first) + k / fixed.size();
        matches.owner[passport] += scales[k] * static_cast<float>(fixed[k % fixed.size()]) > 0;
        matches.own[passport] += scales[k] * static_cast<float>(chunks[i].bits[k]) > 0;
      }
    }
  }
  return matches;
}

using Metrics = std::vector<std::pair<std::string, double>>;

/// Of n bits each. The variance of Binomial(n, 1/2) is n / 4.
void describe(std::vector<int64_t> matched, int64_t n, const std::string& what, Metrics& metrics) {
  std::ranges::sort(matched);
  const auto count = static_cast<double>(matched.size());
  const double mean =
      static_cast<double>(std::accumulate(matched.begin(), matched.end(), int64_t{0})) / count;
  double variance = 0;
  for (const int64_t m : matched)
    variance += (static_cast<double>(m) - mean) * (static_cast<double>(m) - mean) / count;
  const auto add = [&](const std::string& name, double value) {
    metrics.emplace_back(what + ", " + name, value);
  };
  add("best", static_cast<double>(matched.back()));
  add("mean", mean);
  add("variance over binomial", variance / (static_cast<double>(n) / 4));
  for (const int percent : {1, 50, 99})
    add(concat(percent, "% quantile"),
        static_cast<double>(matched[(matched.size() - 1) * static_cast<size_t>(percent) / 100]));
  constexpr int64_t kBins = 20;
  for (int64_t bin = 0; bin < kBins; ++bin)  // the last one with its upper end
    add(concat(bin * 100 / kBins, "-", (bin + 1) * 100 / kBins, "%"),
        static_cast<double>(std::ranges::count_if(
            matched, [&](int64_t m) { return std::min(m * kBins / n, kBins - 1) == bin; })));
}

int64_t best_of(const std::vector<int64_t>& matched) {
  return std::ranges::max_element(matched) - matched.begin();
}

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  const int64_t count = settings.integer("count");
  const std::string& keys = settings.text("keys");
  const int64_t pictures = settings.integer("pictures");
  const int64_t sample = std::min(settings.integer("sample"), count);
  const int64_t images = settings.integer("sample-images");
  if (keys != "random" && !input.test)
    fail(Fault::kUsage, "keys of pictures need test data: give --data");

  const auto model = models::copy_of(input.model);
  const auto stolen = stolen_copy(input);
  const Forge forge = [&](int64_t i) {
    const Secret32 secret = forger_secret(input.seed, static_cast<uint64_t>(i));
    if (keys == "random") return Passport::random(model->sites(), secret, Signature::random());
    const bool image = keys == "image";
    return models::propagate_keys(
        *stolen, model->sites(),
        train::key_images(model->stream(), *input.test, image ? 1 : pictures, secret),
        {.secret = secret,
         .signature = Signature::random(),
         .source = image ? Passport::Source::kImage : Passport::Source::kShuffle});
  };
  const Matches matches = match(*model, input.passport, count, forge, input);

  AttackResult result{.axis = "random passports"};
  result.points.push_back(measure_untouched(input));
  AttackPoint point = result.points.front();
  point.x = static_cast<double>(count);
  const int64_t bits = input.passport.bit_count();
  describe(matches.own, bits, "own bits", point.metrics);
  describe(matches.owner, bits, "owner's bits", point.metrics);

  // The forger puts the best of all forward.
  point.forger = examine(*model, forge(best_of(matches.own)),
                         {.data = input.test, .null_passports = 0, .tests = count});
  if (input.test && model->has_branch(Branch::kPassport)) {
    const train::DeviceDataset test(model->stream(), *input.test);
    const auto accuracy = [&](int64_t i) {
      const OpenPassport open = model->open(forge(i));
      return *train::evaluate(*model, &open, test,
                              {.limit = images, .lanes = Lanes::only(Branch::kPassport)})
                  .passport_accuracy;
    };
    point.metrics.emplace_back("accuracy, best match of owner's bits",
                               accuracy(best_of(matches.owner)));
    double sum = 0, best = 0;
    for (int64_t i = 0; i < sample; ++i) {
      report_progress(input, concat("accuracy ", i + 1, " of ", sample));
      const double a = accuracy(i);
      sum += a;
      best = std::max(best, a);
    }
    if (sample > 0) {
      point.metrics.emplace_back("accuracy, mean of sample", sum / static_cast<double>(sample));
      point.metrics.emplace_back("accuracy, best of sample", best);
    }
  }
  result.points.push_back(std::move(point));
  return result;
}

}  // namespace

Attack fake1_attack() {
  return {.name = "fake1",
          .description = "random passports: what chance gives whoever tries many",
          .source = "DeepIPR (TPAMI 2021), ambiguity attack fake 1",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
