// Sizes, names and plans of every registered network. Expected counts are those of runs of the
// references.
#include "models/builder.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::refusal;

std::unique_ptr<Model> make(std::string_view architecture, ModelOptions options) {
  return models::make(architecture, options, network_stream());
}
ModelOptions with_plan(std::string_view scheme, std::string_view sites = "last") {
  return {.plan = PassportPlan::of(scheme, sites)};
}
std::vector<std::string> names(const std::vector<Site>& sites) {
  std::vector<std::string> out;
  for (const Site& site : sites) out.push_back(site.name);
  return out;
}
int64_t bits(const Model& model) {
  int64_t n = 0;
  for (const int64_t c : model.site_channels()) n += c;
  return n;
}

TEST(Registry, ParameterCountsOfTheReferences) {
  const struct {
    const char *architecture, *scheme, *sites, *norm;
    int64_t ten_classes, hundred_classes;
  } rows[] = {
      {"alexnet", "none", "last", "batch", 2'493'386, 2'862'116},
      {"alexnet", "none", "last", "group", 2'493'386, 2'862'116},
      {"alexnet", "none", "last", "layer", 2'493'386, 2'862'116},
      {"alexnet", "none", "last", "instance", 2'491'082, 2'859'812},
      {"alexnet", "deepipr-v1", "last", "batch", 2'491'594, 2'860'324},
      {"alexnet", "deepipr-v1", "all", "batch", 2'491'082, 2'859'812},
      {"alexnet", "deepipr-v1", "all", "group", 2'491'082, 2'859'812},
      {"alexnet", "deepipr-v2", "last", "batch", 2'493'386, 2'862'116},
      {"alexnet", "deepipr-v2", "last", "group", 2'493'386, 2'862'116},
      {"alexnet", "deepipr-v3", "last", "group", 2'493'386, 2'862'116},
      {"alexnet", "deepipr-v2", "all", "batch", 2'493'386, 2'862'116},
      {"alexnet", "pan", "last", "batch", 2'632'650, 3'001'380},
      {"alexnet", "pan", "last", "group", 2'632'650, 3'001'380},
      {"alexnet", "pan", "all", "batch", 2'653'130, 3'021'860},
      {"alexnet", "pan", "all", "instance", 2'653'130, 3'021'860},
      {"alexnet", "pan-nose-bn", "last", "batch", 2'493'386, 2'862'116},
      {"alexnet", "pan-sbn", "last", "batch", 2'493'386, 2'862'116},
      {"alexnet", "pan-sbn-se", "last", "batch", 2'632'650, 3'001'380},
      {"resnet18", "none", "last", "batch", 11'173'962, 11'220'132},
      {"resnet18", "deepipr-v1", "last", "batch", 11'168'842, 11'215'012},
      {"resnet18", "deepipr-v1", "all", "batch", 11'164'362, 11'210'532},
      {"resnet18", "deepipr-v2", "last", "batch", 11'173'962, 11'220'132},
      {"resnet18", "pan", "last", "batch", 11'829'322, 11'875'492},
      {"resnet18", "pan", "all", "batch", 12'044'362, 12'090'532},
      {"resnet9", "none", "last", "batch", 4'903'242, 4'949'412},
      {"resnet9", "deepipr-v1", "last", "batch", 4'900'170, 4'946'340},
      {"tiny", "none", "last", "batch", 242'474, 254'084},
  };
  for (const auto& row : rows)
    for (const bool ten : {true, false}) {
      // A large network takes a second to make: its classifier is the same under every scheme.
      if (!ten && row.architecture == std::string("resnet18") && row.scheme != std::string("pan"))
        continue;
      ModelOptions options = with_plan(row.scheme, row.sites);
      options.classes = ten ? 10 : 100;
      options.norm = norm_kind(row.norm);
      EXPECT_EQ(make(row.architecture, options)->parameters().count(),
                ten ? row.ten_classes : row.hundred_classes)
          << row.architecture << " " << row.scheme << " " << row.sites << " " << row.norm;
    }
}

/// What a passport adds to and takes from the plain network, for the combinations that the
/// references never ran.
TEST(Registry, EverySchemeAddsItsGateAndNothingElse) {
  for (const NormKind norm :
       {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
    for (const Scheme& scheme : schemes())
      for (const char* sites : {"last", "all", "conv2"}) {
        ModelOptions options = with_plan(scheme.name, sites);
        options.norm = norm;
        const auto model = make("tiny", options);
        int64_t expected = 240'480 + 1'290;  // weights, classifier
        const auto passports = names(model->sites());
        for (const Site& layer : model->possible_sites()) {
          const bool site = std::ranges::find(passports, layer.name) != passports.end();
          const int64_t c = layer.channels();
          if (site && scheme.gate) expected += 2 * c * (c / 4);
          const bool affine =
              site ? scheme.public_lane
                   : norm != NormKind::kInstance || (scheme.passport && scheme.public_lane);
          if (affine) expected += 2 * c;
        }
        EXPECT_EQ(model->parameters().count(), expected)
            << scheme.name << " " << sites << " " << name_of(norm);
      }
}

TEST(Registry, InstanceNormHasAnAffineWhereItIsToldTo) {
  // In the references a plain instance norm never has one: then a released file tells which layers
  // have.
  ModelOptions options = with_plan("pan");
  options.norm = NormKind::kInstance;
  EXPECT_EQ(make("alexnet", options)->parameters().count(), 2'632'650);
  options.affine_layers.emplace();
  EXPECT_EQ(make("alexnet", options)->parameters().count(), 2'632'650 - 2 * (64 + 192));
  options.affine_layers = {"features.0"};
  EXPECT_EQ(make("alexnet", options)->parameters().count(), 2'632'650 - 2 * 192);
}

TEST(Registry, MultiplyAddsOfTheReferences) {
  const std::map<std::string_view, int64_t> expected = {{"alexnet", 220'438'528},
                                                        {"resnet9", 253'432'832},
                                                        {"resnet18", 555'422'720},
                                                        {"pointnet", 435'433'728},
                                                        {"tiny", 12'682'496}};
  ASSERT_EQ(models::architectures().size(), expected.size());
  for (const Architecture& row : models::architectures()) {
    const auto model = make(row.name, {.classes = row.of_points() ? 40 : 10});
    int64_t count = 0;
    for (const Layer& layer : model->layers()) {
      const kernels::ConvGeometry& g = layer.convolution.geometry();
      if (layer.convolution.form() != ConvolutionForm::kVector)
        count += g.oh() * g.ow() * g.o * g.window();
    }
    const ParameterSet& set = model->parameters();
    for (const Parameter& p : set.parameters())
      if (p.spec.shape.rank() == 2) count += p.spec.shape.size();
    EXPECT_EQ(count, expected.at(row.name)) << row.name;
  }
}

TEST(Registry, SitesAndTheirBits) {
  using Names = std::vector<std::string>;
  const auto alexnet = make("alexnet", with_plan("pan"));
  EXPECT_EQ(names(alexnet->sites()), (Names{"features.4", "features.5", "features.6"}));
  EXPECT_EQ(names(alexnet->possible_sites()),
            (Names{"features.0", "features.2", "features.4", "features.5", "features.6"}));
  EXPECT_EQ(names(make("tiny", with_plan("pan"))->sites()), (Names{"conv3", "conv4"}));

  const auto sorted = [](Names v) {
    std::ranges::sort(v);
    return v;
  };
  EXPECT_EQ(sorted(names(make("resnet9", with_plan("pan"))->sites())),
            (Names{"layer4.0.convbn_2", "layer4.0.convbnrelu_1", "layer4.0.shortcut"}));
  EXPECT_EQ(sorted(names(make("resnet18", with_plan("pan"))->sites())),
            (Names{"layer4.0.convbn_2", "layer4.0.convbnrelu_1", "layer4.0.shortcut",
                   "layer4.1.convbn_2", "layer4.1.convbnrelu_1"}));
  Names all = {"convbnrelu_1"};
  for (const int stage : {1, 2, 3, 4})
    for (const int block : {0, 1}) {
      const std::string prefix = concat("layer", stage, ".", block, ".");
      all.push_back(prefix + "convbnrelu_1");
      all.push_back(prefix + "convbn_2");
      if (stage > 1 && block == 0) all.push_back(prefix + "shortcut");
    }
  EXPECT_EQ(sorted(names(make("resnet18", with_plan("pan", "all"))->sites())), sorted(all));

  const struct {
    const char *architecture, *sites;
    int64_t bits;
  } rows[] = {{"alexnet", "last", 896},
              {"alexnet", "all", 1152},
              {"resnet18", "last", 2560},
              {"resnet18", "all", 4800},
              {"resnet9", "last", 1536},
              {"tiny", "last", 256},
              {"tiny", "all", 352},
              {"alexnet", "*.5", 256},
              {"alexnet", "features.[", 0},
              {"resnet18", "*convbn_2", 1920},
              {"alexnet", "features.4,last", 896},
              {"alexnet", "features.6,features.0", 320}};
  for (const auto& row : rows) {
    if (row.bits == 0) {
      refusal(Fault::kUsage, [&] { make(row.architecture, with_plan("pan", row.sites)); });
      continue;
    }
    const auto model = make(row.architecture, with_plan("deepipr-v2", row.sites));
    EXPECT_EQ(bits(*model), row.bits) << row.architecture << " " << row.sites;
    EXPECT_EQ(Passport::random(model->sites(), test::secret(1), Signature::random()).bit_count(),
              row.bits);
  }
}

TEST(PointNet, ParameterCountsOfTheReferences) {
  const struct {
    const char *scheme, *norm;
    int64_t forty_classes, sixteen_classes;
  } rows[] = {
      {"none", "batch", 3'471'473, 3'465'305},
      {"none", "group", 3'471'473, 3'465'305},
      {"pan", "batch", 4'177'441, 4'170'553},
      {"pan-sbn-se", "batch", 4'177'441, 4'170'553},
      {"pan", "group", 4'169'505, 4'162'617},
      // Without the gates.
      {"pan-nose-bn", "batch", 4'177'441 - 699'168, 4'170'553 - 698'496},
      {"deepipr-v2", "group", 4'169'505 - 699'168, 4'162'617 - 698'496},
  };
  for (const auto& row : rows)
    for (const bool forty : {true, false}) {
      ModelOptions options = with_plan(row.scheme);
      options.classes = forty ? 40 : 16;
      options.norm = norm_kind(row.norm);
      const auto model = make("pointnet", options);
      EXPECT_EQ(model->parameters().count(), forty ? row.forty_classes : row.sixteen_classes)
          << row.scheme << " " << row.norm;
      if (!model->sites().empty()) {
        EXPECT_EQ(bits(*model), forty ? 2024 : 2000);
      }
    }
}

TEST(PointNet, SitesAreThePassportLayersOfTheReference) {
  const std::vector<std::string> all{"convp1", "convp2", "convp3", "p1", "p2", "p3"};
  ModelOptions options = with_plan("pan", "all");
  options.points = 32;
  const auto model = make("pointnet", options);
  EXPECT_EQ(names(model->sites()), all);
  EXPECT_EQ(names(model->possible_sites()), all);
  EXPECT_EQ(names(make("pointnet", with_plan("pan"))->sites()), all);
  EXPECT_EQ(model->sites()[0].geometry.w, 32);
  for (const Site& site : model->sites())
    EXPECT_EQ(site.kind == Site::Kind::kLinear, site.name[0] == 'p') << site.name;
  const std::string text =
      refusal(Fault::kUsage, [] { make("pointnet", with_plan("pan", "stn.conv1")); });
  EXPECT_CONTAINS(text, "convp1, convp2, convp3, p1, p2, p3");
}

/// A plain network has biases at its convolutions and no affine behind its last layer; one with
/// passports, wherever they are, the reverse: a released file does not tell where.
TEST(PointNet, BiasesAndAffinesDoNotTellWhereThePassportsAre) {
  const auto has = [](const Model& model, const std::string& released) {
    return std::ranges::any_of(model.parameters().parameters(), [&](const Parameter& p) {
      return (p.spec.released_name.empty() ? p.spec.name : p.spec.released_name) == released;
    });
  };
  for (const char* sites : {"all", "p3", "convp1", "p1,p2"}) {
    const auto model = make("pointnet", with_plan("pan", sites));
    EXPECT_FALSE(has(*model, "convp1.conv.bias")) << sites;
    EXPECT_TRUE(has(*model, "p3.bn.weight")) << sites;
  }
  const auto plain = make("pointnet", {});
  EXPECT_TRUE(has(*plain, "convp1.conv.bias"));
  EXPECT_FALSE(has(*plain, "p3.bn.weight"));
  ModelOptions told;
  told.affine_layers = {"p3"};
  told.bias_layers = {"convp2"};
  const auto model = make("pointnet", told);
  EXPECT_FALSE(has(*model, "convp1.conv.bias"));
  EXPECT_TRUE(has(*model, "convp2.conv.bias"));
  EXPECT_TRUE(has(*model, "p3.bn.weight"));
}

TEST(PointNet, TransformNetsHaveNormsPerLane) {
  const auto secret_norms = [](std::string_view scheme, NormKind norm) {
    ModelOptions options = with_plan(scheme);
    options.norm = norm;
    const auto model = make("pointnet", options);
    return std::ranges::count_if(model->parameters().parameters(), [](const Parameter& p) {
      return p.spec.secret && p.spec.name.find("stn.") != std::string::npos;
    });
  };
  EXPECT_EQ(secret_norms("pan", NormKind::kBatch), 2 * 5 * 2);
  EXPECT_EQ(secret_norms("pan-sbn-se", NormKind::kBatch), 2 * 5 * 2);
  EXPECT_EQ(secret_norms("pan", NormKind::kGroup), 0);
  EXPECT_EQ(secret_norms("deepipr-v2", NormKind::kBatch), 0);
}

TEST(PointNet, RefusesNormsAndFormsThatItHasNot) {
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { make("pointnet", {.norm = NormKind::kInstance}); }),
                  "group");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { make("pointnet", {.folded = true}); }), "folded");
  ModelOptions few = with_plan("pan");
  few.classes = 3;
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { make("pointnet", few); }), "gate of p3");
}

TEST(Registry, KeysHaveTheShapesOfTheLayersInputs) {
  const auto model = make("alexnet", with_plan("pan", "all"));
  const Passport p = Passport::random(model->sites(), test::secret(1), Signature::random());
  const int64_t expected[] = {3 * 32 * 32, 64 * 16 * 16, 192 * 8 * 8, 384 * 8 * 8, 256 * 8 * 8};
  ASSERT_EQ(p.sites().size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(static_cast<int64_t>(p.sites()[i].scale_key.size()), expected[i]);
    EXPECT_EQ(static_cast<int64_t>(p.sites()[i].shift_key.size()), expected[i]);
  }
}

TEST(Registry, BranchesFollowFromTheScheme) {
  for (const Scheme& scheme : schemes()) {
    const auto model = make("tiny", with_plan(scheme.name));
    EXPECT_EQ(model->has_branch(Branch::kPassport), scheme.name != "none") << scheme.name;
    EXPECT_EQ(model->has_branch(Branch::kPublic), scheme.name != "deepipr-v1") << scheme.name;
    EXPECT_EQ(model->sites().empty(), scheme.name == "none") << scheme.name;
    const bool both = scheme.name != "none" && scheme.name != "deepipr-v1";
    EXPECT_EQ(model->training_lanes().is_shared(), both) << scheme.name;
  }
}

TEST(Registry, RefusesPlansThatDoNotFit) {
  const struct {
    const char *architecture, *sites;
    std::vector<std::string> parts;
  } rows[] = {
      {"alexnet", "features.1", {"\"features.1\"", "features.0", "features.6"}},
      {"alexnet", "features.4,conv3", {"\"conv3\"", "alexnet"}},
      {"tiny", "layer4.*", {"\"layer4.*\"", "conv1, conv2, conv3, conv4"}},
      {"resnet9", "layer4.1.*", {"layer4.1.*", "layer4.0.shortcut"}},
  };
  for (const auto& row : rows) {
    const std::string text =
        refusal(Fault::kUsage, [&] { make(row.architecture, with_plan("pan", row.sites)); });
    for (const std::string& part : row.parts) EXPECT_CONTAINS(text, part);
  }
  for (const char* sites : {"", ",", "conv3,", ",conv3", "conv3,,conv4"})
    refusal(Fault::kUsage, [&] { PassportPlan::of("pan", sites); });
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { PassportPlan::of("deepipr"); }), "deepipr-v2");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { make("vgg", {}); }),
                  "alexnet, resnet9, resnet18, pointnet, tiny");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { norm_kind("spectral"); }), "group");
  EXPECT_EQ(scheme("deepipr_v2").name, "deepipr-v2");
  EXPECT_EQ(make("alexnet", with_plan("none", "nonsense"))->sites().size(),
            0u);  // nothing to match
}

/// A network of one layer: no registered one has channels that group norm does not take.
class Narrow final : public Model {
 public:
  Narrow(const Architecture& row, int64_t channels, const ModelOptions& options)
      : Model(row, network_stream(), options) {
    Builder builder(*this);
    builder.conv_norm("stem", builder.input(), channels, 3, 1, 1);
    builder.finish();
  }

 private:
  Var run(Pass&, const Var& x) override { return x; }
};

TEST(Registry, GroupNormNeedsChannelsThatDivide) {
  const Architecture row{
      .name = "narrow", .description = "", .input = {8, 8, 3}, .last = {}, .make = nullptr};
  const auto build = [&](int64_t channels, NormKind norm) {
    const Narrow model(row, channels, {.norm = norm});
  };
  for (const int64_t channels : {16, 24, 32, 64})
    EXPECT_NO_THROW(build(channels, NormKind::kGroup));
  EXPECT_NO_THROW(build(8, NormKind::kBatch));
  for (const int64_t channels : {8, 33}) {
    const std::string text = refusal(Fault::kUsage, [&] { build(channels, NormKind::kGroup); });
    EXPECT_CONTAINS(text, concat("stem"));
    EXPECT_CONTAINS(text, concat(channels, " channels"));
  }
}

}  // namespace
}  // namespace passnorm
