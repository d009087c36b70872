// Thresholds and survivors of both references' pruning, on the networks of README.md.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "engine/io/json.hpp"
#include "tests/golden/fill.hpp"
#include "tests/support/networks.hpp"
#include "verify/attacks/prune.hpp"

namespace passnorm {
namespace {

namespace fs = std::filesystem;

Json golden_file(const std::string& name) {
  const char* folder = std::getenv("PASSNORM_GOLDEN_DIR");
  return read_json(
      ((folder ? fs::path(folder) : fs::path(__FILE__).parent_path()) / name).string());
}

void expect_pruned(const std::string& file, const ModelOptions& options) {
  const Json golden = golden_file(file).at("data");
  ASSERT_EQ(golden.size(), 10u);
  const auto model = models::make("alexnet", options, test::network_stream());
  for (const auto& [percent, expected] : golden.items())
    for (const bool skip_gate : {false, true}) {
      SCOPED_TRACE(concat(percent, "%, skip gate ", skip_gate));
      golden::fill_parameters(*model);
      const verify::Pruned pruned = verify::prune_weights(*model, std::stod(percent), skip_gate);
      const double threshold = expected.at("threshold");
      EXPECT_NEAR(pruned.threshold, threshold, 1e-7 * threshold);  // weights are f32 here
      EXPECT_EQ(pruned.kept,
                expected.at(skip_gate ? "nonzero_skip_fc" : "nonzero_prune_all").get<int64_t>());
    }
}

TEST(GoldenPrune, DeepIprPrunesEverything) {
  expect_pruned(
      "deepipr.prune_alexnet_private_bn_last3.json",
      {.norm = kernels::NormKind::kGroup, .plan = PassportPlan::of("deepipr-v2", "last")});
}

TEST(GoldenPrune, PanLeavesItsGate) {
  expect_pruned("pan.prune_alexnet_private_bn_all5.json", {.plan = PassportPlan::of("pan", "all")});
}

}  // namespace
}  // namespace passnorm
