// Folded networks and torchvision's names: the same function in another form.
#include "models/export.hpp"

#include <cstdlib>
#include <map>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "tests/support/tolerance.hpp"
#include "train/step.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::refusal;
using test::TemporaryFolder;

const models::InputNormalisation kNormalisation{{0.49f, 0.48f, 0.45f}, {0.25f, 0.24f, 0.26f}};

/// Every so many channels: a negative scale, one of zero, a variance no larger than eps.
void make_awkward(Model& model) {
  test::unsettle(model);
  const auto set = [&](const TensorSpec& spec, const Tensor& value, size_t first, float to) {
    std::vector<float> v = value.to_host(model.stream());
    for (size_t i = first; i < v.size(); i += 16) v[i] = to * (to < 0 ? v[i] : 1);
    value.copy_from<float>(model.stream(), v);
    ASSERT_EQ(spec.shape.rank(), 1);
  };
  for (const Parameter& p : model.parameters().parameters())
    if (p.spec.name.ends_with(".bn.weight") || p.spec.name.ends_with(".scale")) {
      set(p.spec, p.var.value, 3, -1);
      set(p.spec, p.var.value, 7, 0);
    }
  for (const Buffer& b : model.parameters().buffers())
    if (b.spec.name.ends_with(".running_var")) set(b.spec, b.value, 5, 1e-5f);
}

struct Network {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  Branch branch = Branch::kPublic;  ///< that is released

  const Passport* affine() const { return branch == Branch::kPassport ? &*passport : nullptr; }
  std::vector<float> logits(const Tensor& x) const {
    return test::logits(*model, affine(), branch, x);
  }
};

Network network(std::string_view architecture, std::string_view scheme,
                std::string_view sites = "last", const ModelOptions& more = {}) {
  ModelOptions options = more;
  options.classes = 7;
  options.plan = PassportPlan::of(scheme, sites);
  Network n{models::make(architecture, options, network_stream()), {}, {}};
  make_awkward(*n.model);
  if (!n.model->sites().empty()) {
    n.passport = Passport::random(n.model->sites(), test::secret(5), Signature::from_text("owner"));
    models::take_lane_state(*n.model, *n.passport);
  }
  if (!n.model->has_branch(Branch::kPublic)) n.branch = Branch::kPassport;
  return n;
}

/// What rounding may do to the logits of two computations of the network. A sum of K products comes
/// out as the exact one of weights that are off by gamma(K) relatively; that is done to every
/// weight, with random signs, three times; the largest change counts once for either computation.
double rounding_of_logits(const Network& n, const Tensor& x) {
  Stream& stream = n.model->stream();
  const std::vector<float> exact = n.logits(x);
  double most = 0;
  for (uint64_t trial = 1; trial <= 3; ++trial) {
    std::vector<std::pair<Tensor, std::vector<float>>> before;
    for (const Parameter& p : n.model->parameters().parameters()) {
      if (p.spec.shape.rank() < 2 || p.spec.secret) continue;
      std::vector<float> w = p.var.value.to_host(stream);
      before.emplace_back(p.var.value, w);
      const Random random(trial, Purpose::kTest, static_cast<uint32_t>(before.size()));
      const double window = static_cast<double>(w.size()) / static_cast<double>(p.spec.shape[0]);
      const double g = test::gamma(window, test::unit_roundoff(DType::kF32));
      for (size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<float>(w[i] * (1 + (random.uniform(i) < 0.5f ? -g : g)));
      p.var.value.copy_from<float>(stream, w);
    }
    const std::vector<float> moved = n.logits(x);
    for (size_t i = 0; i < exact.size(); ++i)
      most = std::max(most, std::abs(double{moved[i]} - double{exact[i]}));
    for (const auto& [value, w] : before) value.copy_from<float>(stream, w);
  }
  return 2 * most;
}

testing::AssertionResult same_function(const std::vector<float>& expected,
                                       const std::vector<float>& actual, double tolerance) {
  if (expected.size() != actual.size())
    return testing::AssertionFailure() << expected.size() << " and " << actual.size() << " logits";
  const auto [least, most] = std::ranges::minmax(expected);
  if (!(tolerance < 1e-2 * (double{most} - double{least})))
    return testing::AssertionFailure() << "a blind comparison: tolerance " << tolerance
                                       << ", logits from " << least << " to " << most;
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(double{expected[i]} - double{actual[i]}) <= tolerance))
      return testing::AssertionFailure() << "logit " << i << " is " << actual[i] << ", expected "
                                         << expected[i] << " +- " << tolerance;
  return testing::AssertionSuccess();
}

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

/// The state_dict of torchvision.models.resnet18 and of ResNet(BasicBlock, [1, 1, 1, 1]), by the
/// rule that torchvision documents: name, type and shape in order.
std::vector<std::string> torchvision_keys(int blocks, int classes) {
  std::vector<std::string> keys;
  const auto conv = [&](const std::string& name, int out, int in, int kernel) {
    keys.push_back(concat(name, ".weight F32 ", out, "x", in, "x", kernel, "x", kernel));
  };
  const auto norm = [&](const std::string& name, int channels) {
    for (const char* what : {"weight", "bias", "running_mean", "running_var"})
      keys.push_back(concat(name, ".", what, " F32 ", channels));
    keys.push_back(name + ".num_batches_tracked I64 ");
  };
  conv("conv1", 64, 3, 3);
  norm("bn1", 64);
  int in = 64;
  for (int stage = 1; stage <= 4; ++stage)
    for (int block = 0; block < blocks; ++block) {
      const std::string at = concat("layer", stage, ".", block, ".");
      const int out = 32 << stage;
      conv(at + "conv1", out, in, 3);
      norm(at + "bn1", out);
      conv(at + "conv2", out, out, 3);
      norm(at + "bn2", out);
      if (in != out) {
        conv(at + "downsample.0", out, in, 1);
        norm(at + "downsample.1", out);
      }
      in = out;
    }
  keys.push_back(concat("fc.weight F32 ", classes, "x512"));
  keys.push_back(concat("fc.bias F32 ", classes));
  return keys;
}

std::vector<std::string> keys_of(const SafeTensors& file) {
  std::vector<std::string> keys;
  for (const TensorInfo& t : file.tensors()) {
    std::string shape;
    for (const int64_t n : t.shape) shape += concat(shape.empty() ? "" : "x", n);
    keys.push_back(concat(t.name,
                          t.dtype == DType::kI64   ? " I64 "
                          : t.dtype == DType::kF32 ? " F32 "
                                                   : " ? ",
                          shape));
  }
  return keys;
}

TEST(Torchvision, NamesShapesAndOrderAreThoseOfItsResNet) {
  const TemporaryFolder folder;
  const std::string path = folder.path("tv");
  for (const auto& [architecture, blocks] : {std::pair{"resnet18", 2}, std::pair{"resnet9", 1}}) {
    const Network n = network(architecture, "pan");
    models::save_torchvision(*n.model, nullptr, path, kNormalisation);
    const SafeTensors file = SafeTensors::open(path);
    EXPECT_EQ(keys_of(file), torchvision_keys(blocks, 7)) << architecture;
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_EQ(file.metadata().at("architecture"), architecture);
    // What counts for the logits stands under the right name.
    const auto same = [&](const char* theirs, const std::string& ours) {
      const auto tensors = models::released_tensors(*n.model);
      ASSERT_NE(file.find(theirs), nullptr) << theirs;
      EXPECT_EQ(to_f32(*file.find(theirs)),
                std::ranges::find(tensors, ours, &models::NamedTensor::name)->values)
          << theirs;
    };
    same("conv1.weight", "convbnrelu_1.conv.weight");
    same("layer2.0.conv2.weight", "layer2.0.convbn_2.conv.weight");
    same("layer4.0.bn1.weight", "layer4.0.convbnrelu_1.bn.weight");
    same("layer4.0.bn2.running_var", "layer4.0.convbn_2.bn.running_var");
    same("layer3.0.downsample.0.weight", "layer3.0.shortcut.conv.weight");
    same("layer3.0.downsample.1.bias", "layer3.0.shortcut.bn.bias");
    same("fc.bias", "linear.bias");
  }
}

TEST(Torchvision, RefusesWhatItsClassesDoNotCompute) {
  const TemporaryFolder folder;
  const auto text = [&](const Model& model) {
    const std::string message = refusal(Fault::kUsage, [&] {
      models::save_torchvision(model, nullptr, folder.path("tv"), kNormalisation);
    });
    EXPECT_TRUE(folder.names().empty());
    return message;
  };
  const auto make = [](const char* architecture, const ModelOptions& options = {}) {
    return models::make(architecture, options, network_stream());
  };
  EXPECT_CONTAINS(text(*make("alexnet")), "three linear layers");
  EXPECT_CONTAINS(text(*make("tiny")), "tiny");
  EXPECT_CONTAINS(text(*make("resnet9", {.norm = NormKind::kGroup})), "batch norm");
  EXPECT_CONTAINS(text(*make("resnet9", {.residual_relu = true})), "residual_relu");
  EXPECT_CONTAINS(text(*models::fold(*make("resnet9"), nullptr)), "folded");
  const Network shipped = network("resnet9", "deepipr-v1");
  EXPECT_CONTAINS(refusal(Fault::kSecret,
                          [&] {
                            models::save_torchvision(*shipped.model, nullptr, folder.path("tv"),
                                                     kNormalisation);
                          }),
                  "--passport");
}

/// Reads a safetensors file with nothing but the standard library and numpy, fills torchvision's
/// class strictly, and writes its logits.
constexpr const char* kScript = R"(
import json, struct, sys
import numpy, torch, torchvision
from torchvision.models.resnet import BasicBlock, ResNet
model, pictures, blocks, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
data = open(model, 'rb').read()
size, = struct.unpack('<Q', data[:8])
header, state = json.loads(data[8:8 + size]), {}
header.pop('__metadata__')
for name, t in header.items():
    begin, end = t['data_offsets']
    kind = {'F32': numpy.float32, 'I64': numpy.int64}[t['dtype']]
    array = numpy.frombuffer(data[8 + size + begin:8 + size + end], kind).reshape(t['shape'])
    state[name] = torch.from_numpy(array.copy())
net = ResNet(BasicBlock, [blocks] * 4, num_classes=7)
net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
net.maxpool = torch.nn.Identity()
assert list(net.state_dict()) == list(state)
net.load_state_dict(state, strict=True)
net.eval()
x = numpy.fromfile(pictures, numpy.float32).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
with torch.no_grad():
    net(torch.from_numpy(x.copy())).numpy().astype(numpy.float32).tofile(out)
)";

TEST(TorchvisionFull, ItsResNetComputesTheSameLogits) {
  const TemporaryFolder folder;
  const char* chosen = std::getenv("PASSNORM_PYTHON");
  std::string python;
  for (const char* candidate : {chosen ? chosen : "python3", "/usr/bin/python3"})
    if (python.empty() &&
        std::system(concat(candidate, " -c 'import torch, torchvision' 2>/dev/null").c_str()) == 0)
      python = candidate;
  if (python.empty()) GTEST_SKIP() << "needs a python3 with torch and torchvision";
  const std::string script = folder.write("logits.py", kScript);
  const struct {
    const char *architecture, *scheme;
    int blocks;
  } rows[] = {{"resnet18", "pan", 2}, {"resnet9", "deepipr-v1", 1}};
  for (const auto& row : rows) {
    const Network n = network(row.architecture, row.scheme);
    const Tensor x = test::pictures(*n.model, 3);
    const std::vector<float> pixels = x.to_host(n.model->stream());
    const std::string model = folder.path("tv"), out = folder.path("logits");
    const std::string pictures =
        folder.write("pictures", text_of(std::as_bytes(std::span(pixels))));
    models::save_torchvision(*n.model, n.affine(), model, kNormalisation);
    ASSERT_EQ(std::system(
                  concat(python, " ", script, " ", model, " ", pictures, " ", row.blocks, " ", out)
                      .c_str()),
              0);
    const std::vector<std::byte> bytes = read_file(out, 1 << 20);
    std::vector<float> theirs(bytes.size() / sizeof(float));
    std::memcpy(theirs.data(), bytes.data(), bytes.size());
    EXPECT_TRUE(same_function(n.logits(x), theirs, rounding_of_logits(n, x))) << row.architecture;
  }
}

}  // namespace
}  // namespace passnorm
