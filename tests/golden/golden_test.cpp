// Runs of both reference implementations in float64, one JSON file per case in the folder
// PASSNORM_GOLDEN_DIR; a new file is a new test. Parameters, keys and input follow from their names
// (spec in tests/golden/README.md).
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <optional>

#include "engine/io/json.hpp"
#include "kernels/reduce.hpp"
#include "models/propagate_keys.hpp"
#include "tests/golden/fill.hpp"
#include "tests/support/networks.hpp"
#include "train/optimizer.hpp"
#include "train/step.hpp"

namespace passnorm {
namespace {

namespace fs = std::filesystem;
using golden::as_floats;
using golden::fill;
using golden::filled_passport;
using golden::parameter_values;
using golden::reference_name;

TEST(GoldenFill, FirstValuesOfTheSpecification) {
  EXPECT_NEAR(fill("input", 3)[0], -.9073907593, 1e-10);
  EXPECT_NEAR(fill("features.4.conv.weight", 3)[1], -.6802449618, 1e-10);
  EXPECT_NEAR(fill("features.4.b", 3)[2], .9324964551, 1e-10);
}

double norm_of(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}

/// The reference's PointNet returns the logarithms of its softmax.
void to_log_softmax(std::vector<float>& logits, int64_t classes) {
  for (auto row = logits.begin(); row != logits.end(); row += classes) {
    double sum = 0;
    std::for_each(row, row + classes, [&](float v) { sum += std::exp(double{v}); });
    std::for_each(row, row + classes, [&](float& v) { v -= static_cast<float>(std::log(sum)); });
  }
}

/// The first logits of sample 0 of each lane.
void expect_logits(const Model& model, const Var& logits, const Json& expected, double limit,
                   const std::string& what) {
  std::vector<float> all = logits.value.to_host(model.stream());
  const int64_t lanes = logits.lanes.parts(), classes = logits.shape()[1];
  if (model.architecture().of_points()) to_log_softmax(all, classes);
  ASSERT_EQ(static_cast<size_t>(lanes), expected.size()) << what;
  double largest = 0;
  for (const float v : all) largest = std::max(largest, std::abs(double{v}));
  for (int64_t l = 0; l < lanes; ++l)
    for (size_t k = 0; k < expected[static_cast<size_t>(l)].size(); ++k) {
      const auto row = static_cast<size_t>(l * (logits.shape()[0] / lanes) * classes);
      EXPECT_NEAR(all[row + k], expected[static_cast<size_t>(l)][k].get<double>(), limit * largest)
          << what << ", lane " << l << ", class " << k;
    }
}

void expect_relative(double ours, double reference, double limit, const std::string& what) {
  EXPECT_NEAR(ours, reference, limit * std::max(1.0, std::abs(reference))) << what;
}

/// name -> norm and first element of a parameter's gradient.
using Probes = std::map<std::string, std::array<double, 2>>;
Probes gradient_probes(const Model& model) {
  Probes probes;
  for (const Parameter& p : model.parameters().parameters()) {
    const std::vector<float> g =
        to_file_order(p.spec, p.var.gradient->value.to_host(model.stream()));
    probes[reference_name(model, p.spec.name)] = {norm_of(g), double{g[0]}};
  }
  return probes;
}

/// What the rounding of convolutions can do to each probe: four times the largest change among four
/// steps whose weights are multiplied by 1 + u / 2^20, u uniform in [-1, 1). That is stated, not
/// derived: sixteen times the unit roundoff of f32, where a result of Winograd's passes through 33
/// roundings besides those of its sum (tests/reference/winograd.hpp). Deep networks carry it far: a
/// ReLU near zero may turn, and a gradient that sums up to little keeps the difference. Leaves the
/// model's weights and statistics as they were.
Probes rounding_of_probes(Model& model, const Probes& probes, const std::function<void()>& step) {
  ParameterSet& set = model.parameters();
  Stream& stream = model.stream();
  const std::vector<float> weights = set.weights().to_host(stream),
                           gradients = set.gradients().to_host(stream),
                           buffers = set.buffer_arena().to_host(stream);
  Probes change;
  for (int run = 0; run < 4; ++run) {
    std::vector<float> moved = weights;
    const std::vector<double> u = fill(concat("rounding ", run), set.weights().size());
    for (size_t i = 0; i < moved.size(); ++i) moved[i] *= static_cast<float>(1 + u[i] / 0x1p20);
    set.weights().copy_from<float>(stream, moved);
    step();
    for (const auto& [name, moved_probe] : gradient_probes(model))
      for (size_t k = 0; k < 2; ++k)
        change[name][k] =
            std::max(change[name][k], 4 * std::abs(moved_probe[k] - probes.at(name)[k]));
  }
  set.weights().copy_from<float>(stream, weights);
  set.gradients().copy_from<float>(stream, gradients);
  set.buffer_arena().copy_from<float>(stream, buffers);
  return change;
}

void run_case(const Json& golden) {
  ModelOptions options{.classes = golden.at("classes").get<int64_t>(),
                       .norm = norm_kind(golden.at("norm").get<std::string>())};
  options.residual_relu = golden.value("residual_relu", false);
  const bool points = golden.at("arch") == "pointnet";
  options.plan.scheme = &scheme(golden.at("scheme").get<std::string>());
  if (points) {
    options.points = golden.at("input").at("shape").back();
    options.orthogonality = kernels::OrthogonalityForm::kTimesGram;
    // Its batch norms at sites take the public lane's statistics in both branches.
    if (options.plan.scheme->name == "pan") options.plan.scheme = &scheme("pan-sbn-se");
  }
  options.plan.sites = golden.at("passport_sites").get<std::vector<std::string>>();
  options.affine_layers.emplace();
  if (golden.contains("tensors"))  // a learned affine exactly where the reference has one
    for (const auto& [name, shape] : golden["tensors"].items())
      if (name.ends_with(".bn.weight"))
        options.affine_layers->push_back(name.substr(0, name.size() - 10));
  const std::shared_ptr<Stream> stream = test::network_stream();
  const auto model = models::make(golden.at("arch").get<std::string>(), options, stream);

  ParameterSet& set = model->parameters();
  EXPECT_EQ(set.count(), golden.at("parameters").get<int64_t>());
  for (Parameter& p : set.parameters()) {
    const std::vector<int64_t> shape = file_shape(p.spec);
    const std::string name = reference_name(*model, p.spec.name);
    if (golden.contains("tensors")) {
      ASSERT_TRUE(golden["tensors"].contains(name)) << "the reference has no " << name;
      EXPECT_EQ(golden["tensors"][name].get<std::vector<int64_t>>(), shape) << name;
    }
    p.var.value.copy_from<float>(*stream, from_file_order(p.spec, parameter_values(name, shape)));
  }
  if (golden.contains("tensors")) {
    EXPECT_EQ(golden["tensors"].size(), set.parameters().size());
  }

  auto shape = golden.at("input").at("shape").get<std::vector<int64_t>>();
  if (points) shape.insert(shape.begin() + 2, 1);
  const TensorSpec image{.name = "x",
                         .shape = {shape[0], shape[2], shape[3], shape[1]},
                         .layout = FileLayout::kConvolution};
  const Tensor x = Tensor::empty(*stream, image.shape);
  x.copy_from<float>(*stream,
                     from_file_order(image, as_floats(fill(golden["input"]["name"], x.size()))));
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < shape[0]; ++i)
    targets.push_back(static_cast<int32_t>((7 * i + 3) % options.classes));
  const Tensor labels = Tensor::from<int32_t>(*stream, {shape[0]}, targets);

  std::unique_ptr<OpenPassport> passport;
  if (!model->sites().empty())
    passport = std::make_unique<OpenPassport>(model->open(filled_passport(model->sites())));
  const Json& o = golden.at("optimizer");
  const bool adam = o.at("kind") == "adam";
  train::OptimizerOptions optimizer_options{
      .kind = train::optimizer_kind(o.at("kind").get<std::string>()),
      .lr = o.at("lr"),
      .momentum = o.value("momentum", 0.0f),
      .nesterov = o.value("nesterov", false),
      .weight_decay = o.at("weight_decay")};
  if (adam) {
    optimizer_options.beta1 = o.at("beta1");
    optimizer_options.beta2 = o.at("beta2");
    optimizer_options.eps = o.at("eps");
  }
  train::Optimizer optimizer(*stream, set, optimizer_options);
  const Lanes lanes = model->training_lanes();

  const Json& steps = golden.at("steps");
  for (size_t i = 0; i < steps.size(); ++i) {
    const Json& expected = steps[i];
    const std::string at = concat("step ", i + 1, " ");
    const double loss_limit = i == 0 ? 2e-5 : 1e-2;
    const train::StepResult r =
        train::forward_backward(*model, passport.get(), x, labels, lanes, {});

    const std::vector<float> ce = r.losses.loss.to_host(*stream);
    ASSERT_EQ(ce.size(), expected.at("ce").size());
    double total = 0;
    for (size_t l = 0; l < ce.size(); ++l) {
      expect_relative(ce[l], expected["ce"][l], loss_limit, at + "cross-entropy");
      total += ce[l];
    }
    if (passport) {
      double sign = 0, accuracy = 0;
      for (const float v : r.signs.loss.to_host(*stream)) sign += v;
      const auto matched = r.signs.matched.to_host<int32_t>(*stream);
      for (size_t s = 0; s < matched.size(); ++s)
        accuracy += matched[s] / static_cast<double>(model->sites()[s].channels()) /
                    static_cast<double>(matched.size());
      expect_relative(sign, expected.at("sign_loss"), loss_limit, at + "sign loss");
      // Averaged in float32 by the reference. Later a scale near zero may have changed its sign.
      EXPECT_NEAR(accuracy, expected.at("sign_acc").get<double>(), i == 0 ? 1e-6 : 1e-2) << at;
      total += sign;
    }
    expect_relative(total, expected.at("total"), loss_limit, at + "total");
    // Adam divides by the size of a gradient: those that are rounding (of biases before a norm)
    // move weights as far as others, and what depends on single weights cannot be held later.
    if (i == 0 || !adam)
      expect_logits(*model, r.logits, expected.at("logits0"), i == 0 ? 1e-4 : 1e-2, at + "logits");

    const double grad_norm = norm_of(set.gradients().to_host(*stream));
    const double expected_norm = expected.at("grad_norm");
    if (i > 0 && adam)
      std::cout << at << "gradient norm " << grad_norm << ", reference " << expected_norm << "\n";
    if (i == 0) {
      EXPECT_NEAR(grad_norm, expected_norm, 1e-3 * expected_norm) << at;
      const Json probes = expected.value("grad_probe", Json::object());
      const Probes ours = gradient_probes(*model);
      std::optional<Probes> rounding;  // measured where the plain limit does not do
      for (const auto& [name, probe] : probes.items()) {
        ASSERT_TRUE(ours.contains(name)) << name;
        for (const size_t k : {size_t{0}, size_t{1}}) {
          const double value = probe[k], error = std::abs(ours.at(name)[k] - value);
          if (std::abs(value) < 1e-12 * expected_norm) continue;  // rounding noise of the reference
          double limit = 5e-3 * std::abs(value) + 5e-6 * expected_norm;
          if (error > limit && !rounding)
            rounding = rounding_of_probes(*model, ours, [&] {
              train::forward_backward(*model, passport.get(), x, labels, lanes, {});
            });
          if (rounding) limit += rounding->at(name)[k];
          EXPECT_LE(error, limit) << at << name << (k ? ", first element " : ", norm ") << value;
        }
      }
    }
    optimizer.step(1);
  }

  const train::StepResult after =
      train::forward_only(*model, passport.get(), x, labels, lanes, Mode::kEvaluate);
  if (!adam)
    expect_logits(*model, after.logits, golden.at("eval_logits_sample0_after"), 1e-2,
                  "evaluation logits");
  const Json running = golden.value("running_after", Json::object());
  for (const auto& [name, probe] : running.items()) {
    const Buffer* b = set.find_buffer(name);
    ASSERT_NE(b, nullptr) << name;
    const std::vector<float> v = b->value.to_host(*stream);
    expect_relative(norm_of(v), probe[0], 1e-3, name);
    expect_relative(v[0], probe[1], 1e-3, name);
  }
}

Tensor filled_images(Stream& stream, const std::string& name, int64_t n) {
  const TensorSpec image{
      .name = name, .shape = {n, 32, 32, 3}, .init = {}, .layout = FileLayout::kConvolution};
  const Tensor x = Tensor::empty(stream, image.shape);
  x.copy_from<float>(stream, from_file_order(image, as_floats(fill(name, x.size()))));
  return x;
}

/// Keys from one image through the plain batch-norm AlexNet, in training mode as the references do.
void run_image_keys(const Json& golden) {
  const std::shared_ptr<Stream> stream = test::network_stream();
  const auto model = models::make("alexnet", {}, stream);
  for (Parameter& p : model->parameters().parameters())
    p.var.value.copy_from<float>(
        *stream, from_file_order(p.spec, parameter_values(p.spec.name, file_shape(p.spec))));
  std::vector<Site> sites;
  for (const Site& site : model->possible_sites())
    if (golden.at("data").contains(site.name)) sites.push_back(site);
  ASSERT_EQ(sites.size(), golden["data"].size());

  const Passport passport =
      models::propagate_keys(*model, sites,
                             {.shift = filled_images(*stream, "passport_x", 1),
                              .scale = filled_images(*stream, "passport_y", 1)},
                             {.secret = Secret32(hash256("golden", {})),
                              .signature = Signature::random(),
                              .source = Passport::Source::kImage,
                              .batch_statistics = true});
  for (const SitePassport& p : passport.sites()) {
    const Json& expected = golden["data"][p.site.name];
    const kernels::ConvGeometry& g = p.site.geometry;
    EXPECT_EQ(expected.at("shape").get<std::vector<int64_t>>(),
              (std::vector<int64_t>{1, g.c, g.h, g.w}));
    const auto sum = [](std::span<const float> v) {
      return std::accumulate(v.begin(), v.end(), 0.0);
    };
    expect_relative(sum(p.shift_key), expected.at("key_sum"), 2e-6, p.site.name + ".key");
    expect_relative(sum(p.scale_key), expected.at("skey_sum"), 2e-6, p.site.name + ".skey");
    const auto first = expected.at("key_first3").get<std::vector<double>>();
    for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(p.shift_key[i], first[i], 1e-4);
  }
}

enum class Length { kQuick, kFull };
/// The emulator takes its time: there most files are long tests.
Length length_of(const std::string& file) {
#if PASSNORM_TEST_CUDA
  const std::string name = fs::path(file).filename();
  const bool quick = name.starts_with("pan.image_keys") || name.starts_with("pan.alexnet_private");
  return quick ? Length::kQuick : Length::kFull;
#else
  static_cast<void>(file);
  return Length::kQuick;
#endif
}

/// Those of attacks have tests of their own: prune_test.cpp, fake3_test.cpp.
bool is_of_attack(const fs::path& file) {
  const std::string name = file.filename();
  return name.find(".prune_") != std::string::npos || name.ends_with(".fake3_step.json");
}

std::vector<std::string> golden_files(Length length) {
  std::vector<std::string> files;
  const char* folder = std::getenv("PASSNORM_GOLDEN_DIR");
  for (const auto& entry :
       fs::directory_iterator(folder ? fs::path(folder) : fs::path(__FILE__).parent_path()))
    if (entry.path().extension() == ".json" && !is_of_attack(entry.path()) &&
        length_of(entry.path().string()) == length)
      files.push_back(entry.path().string());
  std::ranges::sort(files);
  return files;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, HoldsToTheReference) {
  const Json golden = read_json(GetParam());
  if (golden.value("kind", "") == "image_keys_trainmode") return run_image_keys(golden);
  ASSERT_FALSE(golden.contains("kind")) << "a run of unknown kind " << golden["kind"];
  run_case(golden);
}

std::string name_of_file(const testing::TestParamInfo<std::string>& file) {
  std::string name = fs::path(file.param).stem().string();
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(golden_files(Length::kQuick)),
                         name_of_file);
#if PASSNORM_TEST_CUDA
INSTANTIATE_TEST_SUITE_P(FilesFull, Golden, testing::ValuesIn(golden_files(Length::kFull)),
                         name_of_file);
#endif

TEST(GoldenFolder, HasFiles) { EXPECT_FALSE(golden_files(Length::kQuick).empty()); }

}  // namespace
}  // namespace passnorm
