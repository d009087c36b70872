// Networks under torchvision's names: the same function in its ResNet.
#include <cstdlib>

#include "models/export.hpp"
#include "tests/models/exported.hpp"
#include "tests/support/files.hpp"

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
