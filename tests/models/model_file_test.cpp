// Released models and the secret that stays behind: every network under every scheme survives its
// files to the bit, and the released file is an ordinary network's.
#include "engine/io/file.hpp"
#include "engine/io/safetensors.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::same_numbers;
using test::TemporaryFolder;

const models::InputNormalisation kNormalisation{{0.4914009f, 0.1f / 3, 0.5f},
                                                {0.24703233f, 1.f / 7, 0.3f}};

/// The header of a safetensors file, without its metadata: names, types, shapes, places.
std::string header_of(const std::string& path) {
  const SafeTensors file = SafeTensors::open(path);
  std::string text;
  for (const TensorInfo& t : file.tensors()) {
    text += concat(t.name, " ", static_cast<int>(t.dtype));
    for (const int64_t n : t.shape) text += concat(" ", n);
    text += "\n";
  }
  for (const auto& [key, value] : file.metadata()) text += key + "=" + value + "\n";
  return text;
}

struct Combination {
  std::string_view architecture;
  std::string_view scheme;
  std::string_view sites;
  NormKind norm;
};

bool is_large(std::string_view architecture) {
  return architecture.starts_with("resnet") || architecture == "pointnet";
}

std::vector<Combination> combinations() {
  std::vector<Combination> out;
  for (const Architecture& a : models::architectures())
    for (const Scheme& s : schemes())
      if (!is_large(a.name) || s.name == "deepipr-v1" || s.name == "pan")
        out.push_back({a.name, s.name, "last", NormKind::kBatch});
  for (const NormKind norm : {NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
    for (const Scheme& s : schemes()) out.push_back({"tiny", s.name, "last", norm});
  for (const char* architecture : {"alexnet", "tiny"})
    out.push_back({architecture, "pan", "all", NormKind::kBatch});
  out.push_back({"tiny", "deepipr-v2", "conv2,conv4", NormKind::kInstance});
  out.push_back({"pointnet", "none", "last", NormKind::kBatch});
  out.push_back({"pointnet", "pan", "convp2,p1", NormKind::kBatch});
  out.push_back({"pointnet", "deepipr-v2", "all", NormKind::kGroup});
  return out;
}

/// The large networks under the schemes that are left, and with passports everywhere.
std::vector<Combination> large_combinations() {
  std::vector<Combination> out;
  for (const Architecture& a : models::architectures())
    for (const Scheme& s : schemes())
      if (is_large(a.name) && s.name != "deepipr-v1" && s.name != "pan")
        out.push_back({a.name, s.name, "last", NormKind::kBatch});
  for (const char* architecture : {"resnet9", "resnet18"})
    for (const NormKind norm : {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance})
      out.push_back({architecture, "pan", "all", norm});
  return out;
}

class ModelFile : public testing::TestWithParam<Combination> {};

void survives_to_the_bit(const Combination& c) {
  const bool ships = c.scheme == "deepipr-v1";  // no public branch
  const TemporaryFolder folder;
  const std::string path = folder.path("model.safetensors");
  const ModelOptions options{.classes = 7,
                             .norm = c.norm,
                             .plan = PassportPlan::of(c.scheme, c.sites),
                             .points = 16,
                             .seed = 3};
  const auto model = models::make(c.architecture, options, network_stream());
  test::unsettle(*model);
  const Tensor x = test::pictures(*model, 2);
  models::save_released(*model, path, kNormalisation);

  std::optional<Passport> passport;
  if (!model->sites().empty()) {
    passport = Passport::random(model->sites(), test::secret(5), Signature::from_text("owner"));
    models::take_lane_state(*model, *passport);
    passport->save(folder.path("owner.passport"));
  }

  if (ships) {
    EXPECT_CONTAINS(test::refusal(Fault::kSecret,
                                  [&] { models::load_released(path, nullptr, network_stream()); }),
                    "--passport");
  } else {
    const auto [plain, normalisation, complete] =
        models::load_released(path, nullptr, network_stream());
    EXPECT_EQ(normalisation.mean, kNormalisation.mean);
    EXPECT_EQ(normalisation.stddev, kNormalisation.stddev);
    EXPECT_TRUE(complete);
    EXPECT_TRUE(plain->sites().empty());
    EXPECT_TRUE(same_numbers(test::logits(*model, nullptr, Branch::kPublic, x),
                             test::logits(*plain, nullptr, Branch::kPublic, x)));

    // The file is the one that an ordinary network of the same form writes: same names, shapes,
    // order and metadata. With instance norm, and of points, that is one whose layers all have an
    // affine; of points, one whose convolutions have no bias.
    ModelOptions ordinary{.classes = 7, .norm = c.norm};
    if (passport) {
      ordinary.affine_layers.emplace();
      ordinary.bias_layers.emplace();
      for (const Site& layer : model->possible_sites())
        ordinary.affine_layers->push_back(layer.name);
    }
    const auto reference = models::make(c.architecture, ordinary, network_stream());
    models::save_released(*reference, folder.path("plain.safetensors"), kNormalisation);
    EXPECT_EQ(header_of(path), header_of(folder.path("plain.safetensors")));
    int64_t parameters = 0;
    const SafeTensors file = SafeTensors::open(path);
    for (const TensorInfo& t : file.tensors())
      if (t.name.find(".running_") == std::string::npos) parameters += t.size();
    EXPECT_EQ(parameters, reference->parameters().count());
  }

  if (!passport) return;
  const Passport opened = Passport::load(folder.path("owner.passport"));
  EXPECT_EQ(opened.scheme->name, c.scheme);
  EXPECT_TRUE(opened.bits_bound());
  const auto owned = models::load_released(path, &opened, network_stream()).model;
  EXPECT_EQ(owned->sites(), model->sites());
  EXPECT_EQ(owned->parameters().count(), model->parameters().count());
  const auto expected = test::logits(*model, &*passport, Branch::kPassport, x);
  EXPECT_TRUE(same_numbers(expected, test::logits(*owned, &opened, Branch::kPassport, x)));
  if (!ships) {
    const auto plain = test::logits(*model, nullptr, Branch::kPublic, x);
    EXPECT_TRUE(same_numbers(plain, test::logits(*owned, nullptr, Branch::kPublic, x)));
    EXPECT_NE(plain, expected);
  }
  // Another passport is another function: the comparison above could fail.
  const Passport stranger = Passport::random(model->sites(), test::secret(6), Signature::random());
  EXPECT_NE(expected, test::logits(*owned, &stranger, Branch::kPassport, x));
}

TEST_P(ModelFile, SurvivesToTheBit) { survives_to_the_bit(GetParam()); }

class ModelFileFull : public testing::TestWithParam<Combination> {};
TEST_P(ModelFileFull, SurvivesToTheBit) { survives_to_the_bit(GetParam()); }

std::string name_of_case(const testing::TestParamInfo<Combination>& p) {
  std::string name = concat(p.param.architecture, "_", p.param.scheme, "_", p.param.sites, "_",
                            name_of(p.param.norm));
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Every, ModelFile, testing::ValuesIn(combinations()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Every, ModelFileFull, testing::ValuesIn(large_combinations()),
                         name_of_case);

TEST(ModelFileOptions, ResidualReluIsKept) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  const auto model = models::make(
      "resnet9", {.plan = PassportPlan::of("deepipr-v2"), .residual_relu = true}, network_stream());
  test::unsettle(*model);
  models::save_released(*model, path, kNormalisation);
  const auto plain = models::load_released(path, nullptr, network_stream()).model;
  EXPECT_TRUE(plain->options().residual_relu);
  const Tensor x = test::pictures(*model, 2);
  EXPECT_TRUE(same_numbers(test::logits(*model, nullptr, Branch::kPublic, x),
                           test::logits(*plain, nullptr, Branch::kPublic, x)));
}

TEST(ModelFileOptions, TheSameNetworkGivesTheSameBytes) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"})
    models::save_released(*models::make("tiny", {.seed = 4}, network_stream()), folder.path(name),
                          kNormalisation);
  models::save_released(*models::make("tiny", {.seed = 5}, network_stream()), folder.path("c"),
                        kNormalisation);
  const auto bytes = [&](const char* name) { return read_file(folder.path(name), 1 << 24); };
  EXPECT_EQ(bytes("a"), bytes("b"));
  EXPECT_NE(bytes("a"), bytes("c"));
}

TEST(ModelFileOptions, NeedsThePassportOfThisNetwork) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  const auto owned = [&](const char* scheme, const char* sites, const char* architecture = "tiny") {
    const auto model =
        models::make(architecture, {.plan = PassportPlan::of(scheme, sites)}, network_stream());
    Passport p = Passport::random(model->sites(), test::secret(1), Signature::random());
    models::take_lane_state(*model, p);
    return std::pair{std::move(p), model->sites()};
  };
  const auto model =
      models::make("tiny", {.plan = PassportPlan::of("pan", "last")}, network_stream());
  models::save_released(*model, path, kNormalisation);
  const auto load = [&](const Passport& p) { models::load_released(path, &p, network_stream()); };

  EXPECT_NO_THROW(load(owned("pan", "last").first));
  EXPECT_NO_THROW(load(owned("pan", "all").first));  // claims are examined, not believed
  EXPECT_CONTAINS(
      test::refusal(Fault::kInput, [&] { load(owned("pan", "features.4", "alexnet").first); }),
      "does not fit");
  {
    Passport p = owned("pan", "last").first;
    p.lane_state.pop_back();
    EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { load(p); }), "running_var");
  }
  {
    Passport p = owned("pan", "last").first;
    p.lane_state[0].shape.front() += 1;
    EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { load(p); }), "fc.0.weight");
  }
  // A passport that brings the affine against a file that has one, and the reverse.
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { load(owned("deepipr-v1", "last").first); }),
                  "public branch");
  const auto v1 = models::make(
      "tiny", {.norm = NormKind::kInstance, .plan = PassportPlan::of("deepipr-v1", "last")},
      network_stream());
  models::save_released(*v1, path, kNormalisation);
  for (const char* scheme : {"pan", "deepipr-v2"})
    test::refusal(Fault::kInput, [&] { load(owned(scheme, "last").first); });
  EXPECT_NO_THROW(load(owned("deepipr-v1", "last").first));
}

/// A released file taken apart, changed and written again.
struct Parts {
  struct Part {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  std::vector<Part> tensors;
  Metadata metadata;

  explicit Parts(const SafeTensors& file) : metadata(file.metadata()) {
    for (const TensorInfo& t : file.tensors()) tensors.push_back({t.name, t.shape, to_f32(t)});
  }
  Part& at(const std::string& name) { return *std::ranges::find(tensors, name, &Part::name); }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const Part& p) { return p.name == name; });
  }
  void write(const std::string& path) const {
    std::vector<TensorEntry> entries;
    for (const Part& p : tensors) entries.push_back({p.name, p.shape, std::span(p.values)});
    write_safetensors(path, entries, metadata);
  }
};

TEST(MalformedModel, IsRefusedWithTheReason) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  models::save_released(*models::make("tiny", {}, network_stream()), path, kNormalisation);
  const Parts sound(SafeTensors::open(path));
  const float nan = std::numeric_limits<float>::quiet_NaN();

  const struct {
    const char* reason;
    std::function<void(Parts&)> damage;
  } cases[] = {
      {"tensor conv1.conv.weight is missing", [](Parts& p) { p.drop("conv1.conv.weight"); }},
      {"tensor conv4.bn.bias is missing", [](Parts& p) { p.drop("conv4.bn.bias"); }},
      {"conv2.bn.running_var is missing", [](Parts& p) { p.drop("conv2.bn.running_var"); }},
      {"linear.bias is missing", [](Parts& p) { p.drop("linear.bias"); }},
      {"conv1.conv.weight is missing", [](Parts& p) { p.at("conv1.conv.weight").name = "c"; }},
      {"tensor \"conv3.fc.0.weight\" is not one of tiny",
       [](Parts& p) {
         p.tensors.push_back({"conv3.fc.0.weight", {1}, {1}});
       }},
      {"tensor \"conv5.bn.weight\" is not one of tiny",
       [](Parts& p) {
         p.tensors.push_back({"conv5.bn.weight", {1}, {1}});
       }},
      {"tensor \"a\\x0ab\" is not one of tiny",
       [](Parts& p) {
         p.tensors.push_back({"a\nb", {1}, {1}});
       }},
      {"conv2.bn.weight",
       [](Parts& p) {
         p.at("conv2.bn.weight") = {"conv2.bn.weight", {63}, std::vector<float>(63)};
       }},
      {"conv2.bn.weight",
       [](Parts& p) {
         p.at("conv2.bn.weight").shape = {64, 1};
       }},
      {"conv1.conv.weight",
       [](Parts& p) {
         p.at("conv1.conv.weight").shape = {32, 27};
       }},
      {"conv1.conv.weight",
       [](Parts& p) {
         p.at("conv1.conv.weight").shape = {3, 32, 3, 3};
       }},
      {"no classifier of 10",
       [](Parts& p) {
         p.at("linear.weight").shape = {10, 128, 1};
       }},
      {"linear.weight has another",
       [](Parts& p) {
         p.at("linear.weight") = {"linear.weight", {10, 129}, std::vector<float>(1290)};
       }},
      {"conv3.conv.weight holds 1 values",
       [&](Parts& p) { p.at("conv3.conv.weight").values.back() = nan; }},
      {"linear.bias holds 2 values",
       [&](Parts& p) { p.at("linear.bias").values[0] = p.at("linear.bias").values[9] = INFINITY; }},
      {"running_mean holds 1",
       [&](Parts& p) { p.at("conv1.bn.running_mean").values[3] = -INFINITY; }},
      {"conv1.bn.running_var", [](Parts& p) { p.at("conv1.bn.running_var").values[0] = -1; }},
      {"\"format\"", [](Parts& p) { p.metadata.erase("format"); }},
      {"passnorm.model/1", [](Parts& p) { p.metadata["format"] = "passnorm.passport/1"; }},
      {"passnorm.model/1", [](Parts& p) { p.metadata["format"] = "pt\n\x1b[31m"; }},
      {"\"architecture\"", [](Parts& p) { p.metadata.erase("architecture"); }},
      {"unknown model", [](Parts& p) { p.metadata["architecture"] = "tinier"; }},
      {"unknown model", [](Parts& p) { p.metadata["architecture"] = "ti\nny"; }},
      {"is missing", [](Parts& p) { p.metadata["architecture"] = "resnet9"; }},
      {"\"norm\"", [](Parts& p) { p.metadata.erase("norm"); }},
      {"unknown norm", [](Parts& p) { p.metadata["norm"] = "none"; }},
      {"running", [](Parts& p) { p.metadata["norm"] = "group"; }},
      {"\"classes\"", [](Parts& p) { p.metadata.erase("classes"); }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = ""; }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = "ten\r"; }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = "10 "; }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = "1"; }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = "-10"; }},
      {"\"classes\"", [](Parts& p) { p.metadata["classes"] = "99999999999999999999"; }},
      {"classes", [](Parts& p) { p.metadata["classes"] = "11"; }},
      {"classes", [](Parts& p) { p.metadata["classes"] = "1048576"; }},  // takes no memory for it
      {"\"residual_relu\"", [](Parts& p) { p.metadata["residual_relu"] = "yes"; }},
      {"\"mean\"", [](Parts& p) { p.metadata.erase("mean"); }},
      {"\"mean\"", [](Parts& p) { p.metadata["mean"] = "0.5,0.5"; }},
      {"\"mean\"", [](Parts& p) { p.metadata["mean"] = "0.5,0.5,0.5,0.5"; }},
      {"\"mean\"", [](Parts& p) { p.metadata["mean"] = "0.5,0.5,"; }},
      {"\"mean\"", [](Parts& p) { p.metadata["mean"] = "0.5,nan,0.5"; }},
      {"\"std\"", [](Parts& p) { p.metadata["std"] = "0.5 0.5 0.5"; }},
      {"\"std\"", [](Parts& p) { p.metadata["std"] = "0.5,inf,0.5"; }},
      {"\"std\"", [](Parts& p) { p.metadata["std"] = "0.5,0,0.5"; }},
      {"\"std\"", [](Parts& p) { p.metadata["std"] = "0.5,-1,0.5"; }},
  };
  EXPECT_NO_THROW(models::load_released(path, nullptr, network_stream()));
  for (const auto& c : cases) {
    Parts damaged = sound;
    c.damage(damaged);
    damaged.write(path);
    const std::string text = test::refusal(
        Fault::kInput, [&] { models::load_released(path, nullptr, network_stream()); });
    EXPECT_CONTAINS(text, c.reason);
    EXPECT_CONTAINS(text, path);
  }

  // The type counts too.
  std::vector<TensorEntry> entries;
  for (const Parts::Part& p : sound.tensors)
    entries.push_back({p.name, p.shape, std::span(p.values)});
  const std::vector<float16> halves(10);
  std::ranges::find(entries, "linear.bias", &TensorEntry::name)->data = std::span(halves);
  write_safetensors(path, entries, sound.metadata);
  EXPECT_CONTAINS(
      test::refusal(Fault::kInput, [&] { models::load_released(path, nullptr, network_stream()); }),
      "linear.bias");
}

TEST(MalformedModel, CutFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  models::save_released(*models::make("tiny", {}, network_stream()), path, kNormalisation);
  const auto bytes = read_file(path, 1 << 24);
  for (const size_t size :
       {size_t{0}, size_t{7}, size_t{8}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    write_file_atomic(path, std::span(bytes).first(size));
    test::refusal(Fault::kInput, [&] { models::load_released(path, nullptr, network_stream()); });
  }
  test::refusal(Fault::kInput,
                [&] { models::load_released(folder.path("none"), nullptr, network_stream()); });
}

}  // namespace
}  // namespace passnorm
