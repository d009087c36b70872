// Folded networks: the same function without norms.
#include "models/export.hpp"
#include "tests/models/exported.hpp"
#include "tests/support/files.hpp"
#include "train/step.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::kNormalisation;
using test::Network;
using test::network;
using test::network_stream;
using test::refusal;
using test::rounding_of_logits;
using test::same_function;
using test::TemporaryFolder;

struct Combination {
  std::string_view architecture, scheme, sites;
};
std::vector<Combination> combinations(bool large) {
  std::vector<Combination> out;
  for (const Architecture& a : models::architectures())
    if (a.name.starts_with("resnet") == large && !a.of_points())
      for (const Scheme& s : schemes())
        if (a.name != "resnet18" || s.name == "none" || s.name == "deepipr-v1" || s.name == "pan")
          for (const char* sites : {"last", "all"})
            if (s.passport || sites == std::string_view("last"))
              out.push_back({a.name, s.name, sites});
  return out;
}
std::string name_of_case(const testing::TestParamInfo<Combination>& p) {
  std::string name = concat(p.param.architecture, "_", p.param.scheme, "_", p.param.sites);
  std::ranges::replace(name, '-', '_');
  return name;
}

class Folded : public testing::TestWithParam<Combination> {};
class FoldedFull : public Folded {};

void computes_the_same(const Combination& c) {
  const TemporaryFolder folder;
  const std::string path = folder.path("folded.safetensors");
  const Network n = network(c.architecture, c.scheme, c.sites);
  const Tensor x = test::pictures(*n.model, 3);
  models::save_folded(*n.model, n.affine(), path, kNormalisation);

  // The file is a whole network of its own: weights, biases, nothing of the norm.
  const SafeTensors file = SafeTensors::open(path);
  EXPECT_EQ(file.metadata().at("norm"), "folded");
  EXPECT_FALSE(file.metadata().contains("affine"));
  EXPECT_EQ(file.tensors().size(), 2 * n.model->layers().size() + 2);
  for (const TensorInfo& t : file.tensors())
    EXPECT_TRUE(t.name.ends_with(".weight") || t.name.ends_with(".bias")) << t.name;
  for (const Layer& layer : n.model->layers()) {
    const TensorInfo* bias = file.find(layer.name + ".conv.bias");
    ASSERT_NE(bias, nullptr);
    EXPECT_EQ(bias->shape, std::vector<int64_t>{layer.convolution.geometry().o});
  }

  const auto [folded, normalisation, complete] =
      models::load_released(path, nullptr, network_stream());
  EXPECT_TRUE(complete);
  EXPECT_EQ(normalisation.mean, kNormalisation.mean);
  EXPECT_EQ(normalisation.stddev, kNormalisation.stddev);
  EXPECT_TRUE(folded->options().folded);
  EXPECT_EQ(folded->options().classes, 7);
  EXPECT_TRUE(folded->has_branch(Branch::kPublic));
  EXPECT_FALSE(folded->has_branch(Branch::kPassport));
  EXPECT_TRUE(same_function(n.logits(x), test::logits(*folded, nullptr, Branch::kPublic, x),
                            rounding_of_logits(n, x)));
}
TEST_P(Folded, ComputesTheSame) { computes_the_same(GetParam()); }
TEST_P(FoldedFull, ComputesTheSame) { computes_the_same(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Small, Folded, testing::ValuesIn(combinations(false)), name_of_case);
INSTANTIATE_TEST_SUITE_P(Large, FoldedFull, testing::ValuesIn(combinations(true)), name_of_case);

TEST(Fold, AResNetOfBlocksWithMoreActivations) {
  for (const bool residual_relu : {false, true}) {
    const Network n = network("resnet9", "pan", "last", {.residual_relu = residual_relu});
    const Tensor x = test::pictures(*n.model, 2);
    const auto folded = models::fold(*n.model, nullptr);
    EXPECT_TRUE(same_function(n.logits(x), test::logits(*folded, nullptr, Branch::kPublic, x),
                              rounding_of_logits(n, x)))
        << residual_relu;
  }
}

/// The formula, element by element: what is rounded once comes out to the bit.
TEST(Fold, WeightsAndBiasesAreThoseOfTheFormula) {
  const Network n = network("tiny", "pan", "last");
  const auto folded = models::fold(*n.model, nullptr);
  const auto host = [](Model& model, const std::string& name) {
    if (const Parameter* p = model.parameters().find(name))
      return p->var.value.to_host(model.stream());
    const Buffer* b = model.parameters().find_buffer(name);
    EXPECT_NE(b, nullptr) << name;
    return b ? b->value.to_host(model.stream()) : std::vector<float>();
  };
  size_t negative = 0, zero = 0, small = 0;
  for (const Layer& layer : n.model->layers()) {
    const bool site = layer.name == "conv3" || layer.name == "conv4";
    const auto w = host(*n.model, layer.name + ".conv.weight");
    const auto gamma = host(*n.model, layer.name + (site ? ".scale" : ".bn.weight"));
    const auto beta = host(*n.model, layer.name + (site ? ".bias" : ".bn.bias"));
    const auto mean = host(*n.model, layer.name + (site ? ".bn0" : ".bn") + ".running_mean");
    const auto var = host(*n.model, layer.name + (site ? ".bn0" : ".bn") + ".running_var");
    const auto folded_w = host(*folded, layer.name + ".conv.weight");
    const auto folded_b = host(*folded, layer.name + ".conv.bias");
    const size_t window = w.size() / gamma.size();
    for (size_t o = 0; o < gamma.size(); ++o) {
      negative += gamma[o] < 0;
      zero += gamma[o] == 0;
      small += var[o] < 2e-5f;
      const double root = std::sqrt(double{var[o]} + double{1e-5f});
      ASSERT_EQ(folded_b[o], static_cast<float>(beta[o] - double{mean[o]} * (gamma[o] / root)))
          << layer.name << " " << o;
      for (size_t k = 0; k < window; ++k)  // [O, KH, KW, I] in memory
        ASSERT_EQ(folded_w[o * window + k],
                  static_cast<float>(w[o * window + k] * (gamma[o] / root)))
            << layer.name << " " << o << " " << k;
    }
  }
  EXPECT_GT(negative, 0u);
  EXPECT_GT(zero, 0u);
  EXPECT_GT(small, 0u);
}

TEST(Fold, SignsStandWhereTheScaleIsPositive) {
  for (const char* scheme : {"deepipr-v2", "pan"}) {
    const TemporaryFolder folder;
    const Network n = network("tiny", scheme);
    models::save_folded(*n.model, nullptr, folder.path("folded"), kNormalisation);
    const auto loaded =
        models::load_released(folder.path("folded"), &*n.passport, network_stream()).model;
    ASSERT_EQ(loaded->sites(), n.model->sites());
    const auto raw = [&](const Model& model) {
      Tape tape(model.stream(), Tape::Mode::kForwardOnly);
      return model.read(tape, model.open(*n.passport)).value.to_host(model.stream());
    };
    const std::vector<float> before = raw(*n.model), after = raw(*loaded);
    ASSERT_EQ(before.size(), after.size());
    size_t at = 0, reversed = 0, gone = 0;
    const auto sign = [](float v) { return (v > 0) - (v < 0); };
    for (const Site& site : n.model->sites()) {
      const auto gamma =
          n.model->parameters().find(site.name + ".scale")->var.value.to_host(n.model->stream());
      for (size_t c = 0; c < gamma.size(); ++c) {
        EXPECT_EQ(sign(after[at + c]), sign(before[at + c]) * sign(gamma[c])) << site.name << c;
        reversed += gamma[c] < 0;
        gone += gamma[c] == 0;
      }
      at += 2 * gamma.size();
    }
    EXPECT_EQ(reversed, 16u);
    EXPECT_EQ(gone, 16u);
  }
}

TEST(Fold, OfAPassportsOwnScaleCannotBeExamined) {
  const TemporaryFolder folder;
  const Network n = network("tiny", "deepipr-v1");
  EXPECT_CONTAINS(refusal(Fault::kSecret, [&] { models::fold(*n.model, nullptr); }), "--passport");
  models::save_folded(*n.model, n.affine(), folder.path("folded"), kNormalisation);
  EXPECT_CONTAINS(
      refusal(
          Fault::kInput,
          [&] { models::load_released(folder.path("folded"), &*n.passport, network_stream()); }),
      "folded");
}

TEST(Fold, OnlyBatchNormFolds) {
  for (const NormKind norm : {NormKind::kGroup, NormKind::kInstance, NormKind::kLayer}) {
    const auto model = models::make("tiny", {.norm = norm}, network_stream());
    const std::string text = refusal(Fault::kUsage, [&] { models::fold(*model, nullptr); });
    EXPECT_CONTAINS(text, "batch norm");
    EXPECT_CONTAINS(text, name_of(norm));
  }
  const auto model = models::make("tiny", {}, network_stream());
  const auto once = models::fold(*model, nullptr);
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { models::fold(*once, nullptr); }), "already");
}

TEST(Fold, LinearLayersDoNotFold) {
  const auto model = models::make("pointnet", {.points = 16}, network_stream());
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { models::fold(*model, nullptr); }), "linear layer");
  EXPECT_CONTAINS(
      refusal(Fault::kUsage,
              [&] { models::save_torchvision(*model, nullptr, "never", kNormalisation); }),
      "pointnet");
}

TEST(Fold, NumbersBeyondF32AreNotWritten) {
  const auto model = models::make("tiny", {}, network_stream());
  const Tensor& scale = model->parameters().find("conv2.bn.weight")->var.value;
  std::vector<float> v = scale.to_host(model->stream());
  v[9] = 3e38f;
  scale.copy_from<float>(model->stream(), v);
  const Tensor& var = model->parameters().find_buffer("conv2.bn.running_var")->value;
  std::vector<float> small(v.size(), 0.f);
  var.copy_from<float>(model->stream(), small);
  EXPECT_CONTAINS(refusal(Fault::kNumerics, [&] { models::fold(*model, nullptr); }),
                  "conv2.conv.weight");
}

TEST(Fold, AFoldedNetworkIsForEvaluation) {
  const Network n = network("tiny", "pan");
  const auto folded = models::fold(*n.model, nullptr);
  const Tensor x = test::pictures(*folded, 2);
  const Tensor labels = Tensor::from<int32_t>(folded->stream(), {2}, std::vector<int32_t>{1, 2});
  EXPECT_CONTAINS(refusal(Fault::kUsage,
                          [&] {
                            train::forward_backward(*folded, nullptr, x, labels,
                                                    folded->training_lanes(), {});
                          }),
                  "cannot be trained");
  EXPECT_NO_THROW(
      train::forward_only(*folded, nullptr, x, labels, folded->training_lanes(), Mode::kEvaluate));
  // With its sites it still has no passport branch.
  const TemporaryFolder folder;
  models::save_folded(*n.model, nullptr, folder.path("f"), kNormalisation);
  const auto owned = models::load_released(folder.path("f"), &*n.passport, network_stream()).model;
  EXPECT_CONTAINS(
      refusal(Fault::kUsage, [&] { test::logits(*owned, &*n.passport, Branch::kPassport, x); }),
      "no passport branch");
}

}  // namespace
}  // namespace passnorm
