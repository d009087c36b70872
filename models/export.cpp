#include "models/export.hpp"

#include <algorithm>
#include <cmath>

namespace passnorm::models {
namespace {

const NamedTensor& find(std::span<const NamedTensor> tensors, const std::string& name) {
  const auto it = std::ranges::find(tensors, name, &NamedTensor::name);
  PASSNORM_CHECK(it != tensors.end(), "the network has no ", name);
  return *it;
}

/// The released tensors, with the affine that deepipr-v1 takes from the passport.
std::vector<NamedTensor> tensors_of(const Model& model, const Passport* passport) {
  std::vector<NamedTensor> tensors = released_tensors(model);
  if (model.has_branch(Branch::kPublic)) return tensors;
  if (!passport)
    fail(Fault::kSecret,
         "this network's scale and shift come from its passport; give --passport FILE");
  for (NamedTensor& t : passport_affine(model, *passport)) tensors.push_back(std::move(t));
  return tensors;
}

void check_batch_norm(const Model& model, const char* wish) {
  if (model.options().folded)
    fail(Fault::kUsage, "this network is folded already: it has no normalisation left");
  if (model.options().norm != kernels::NormKind::kBatch)
    fail(Fault::kUsage, wish, " needs batch norm; this network has ", name_of(model.options().norm),
         " norm, whose statistics come from every picture anew");
}

struct Affine64 {
  std::vector<double> scale, shift;  ///< [O]
};

/// y = scale x + shift of a layer's batch norm.
Affine64 affine_of(const Layer& layer, std::span<const NamedTensor> tensors) {
  const auto values = [&](const char* what) -> const std::vector<float>& {
    return find(tensors, layer.name + what).values;
  };
  const auto &gamma = values(".bn.weight"), &beta = values(".bn.bias");
  const auto &mean = values(".bn.running_mean"), &var = values(".bn.running_var");
  Affine64 affine;
  for (size_t o = 0; o < gamma.size(); ++o) {
    const double s = gamma[o] / std::sqrt(double{var[o]} + double{layer.norm->spec().eps});
    affine.scale.push_back(s);
    affine.shift.push_back(beta[o] - mean[o] * s);
  }
  return affine;
}

float rounded(const std::string& name, double value) {
  const auto result = static_cast<float>(value);
  if (!std::isfinite(result))
    fail(Fault::kNumerics, "folding ", name, " gives a number beyond f32: ", value);
  return result;
}

}  // namespace

std::unique_ptr<Model> fold(const Model& model, const Passport* passport) {
  check_batch_norm(model, "folding");
  for (const Layer& layer : model.layers())
    if (layer.convolution.form() == ConvolutionForm::kVector)
      fail(Fault::kUsage,
           "folding is for networks of convolutions: the bias of a linear layer like ", layer.name,
           " is part of its raw scale, and folding would change it");
  std::vector<NamedTensor> tensors = tensors_of(model, passport);
  for (const Layer& layer : model.layers()) {
    const Affine64 affine = affine_of(layer, tensors);
    const std::string weight = layer.name + ".conv.weight", bias = layer.name + ".conv.bias";
    std::vector<float>& w = std::ranges::find(tensors, weight, &NamedTensor::name)->values;
    const size_t outputs = affine.scale.size(), window = w.size() / outputs;
    for (size_t i = 0; i < w.size(); ++i) w[i] = rounded(weight, w[i] * affine.scale[i / window]);
    NamedTensor shift{bias, {static_cast<int64_t>(outputs)}, {}};
    for (const double b : affine.shift) shift.values.push_back(rounded(bias, b));
    tensors.push_back(std::move(shift));
  }

  ModelOptions options = model.options();
  options.plan = {};
  options.folded = true;
  options.initialise = false;
  const Architecture& row = model.architecture();
  auto folded = row.make(row, model.shared_stream(), options);
  for (const Parameter& p : folded->parameters().parameters())
    p.var.value.copy_from<float>(model.stream(),
                                 from_file_order(p.spec, find(tensors, p.spec.name).values));
  return folded;
}

void save_folded(const Model& model, const Passport* passport, const std::string& path,
                 const InputNormalisation& normalisation) {
  save_released(*fold(model, passport), path, normalisation);
}

namespace {

/// convbnrelu_1.conv -> conv1, layer2.0.convbn_2.bn -> layer2.0.bn2, layer2.0.shortcut.bn ->
/// layer2.0.downsample.1
std::string torchvision_module(const std::string& layer, bool norm) {
  const size_t dot = layer.rfind('.');
  const std::string prefix = dot == std::string::npos ? "" : layer.substr(0, dot + 1);
  const std::string last = layer.substr(prefix.size());
  if (last == "shortcut") return prefix + (norm ? "downsample.1" : "downsample.0");
  PASSNORM_CHECK(last == "convbnrelu_1" || last == "convbn_2", "layer ", layer, " of a ResNet");
  return prefix + (norm ? "bn" : "conv") + last.back();
}

}  // namespace

void save_torchvision(const Model& model, const Passport* passport, const std::string& path,
                      const InputNormalisation& normalisation) {
  const std::string_view name = model.architecture().name;
  if (name == "alexnet")
    fail(Fault::kUsage,
         "torchvision's alexnet is another network: no batch norm, three linear layers, 224x224 "
         "pictures");
  if (!name.starts_with("resnet"))
    fail(Fault::kUsage, "torchvision has no network of the form of ", name);
  check_batch_norm(model, "torchvision's ResNet");
  if (model.options().residual_relu)
    fail(Fault::kUsage,
         "torchvision's ResNet has one ReLU at the end of a block; this network has residual_relu");

  const std::vector<NamedTensor> tensors = tensors_of(model, passport);
  const int64_t batches = 0;  // num_batches_tracked: counts for momentum None only
  std::vector<TensorEntry> entries;
  const auto add = [&](const std::string& ours, const std::string& theirs) {
    const NamedTensor& t = find(tensors, ours);
    entries.push_back({theirs, t.shape, std::span(t.values)});
  };
  for (const Layer& layer : model.layers()) {
    add(layer.name + ".conv.weight", torchvision_module(layer.name, false) + ".weight");
    const std::string norm = torchvision_module(layer.name, true);
    for (const char* what : {".weight", ".bias", ".running_mean", ".running_var"})
      add(layer.name + ".bn" + what, norm + what);
    entries.push_back({norm + ".num_batches_tracked", {}, std::span(&batches, 1)});
  }
  add("linear.weight", "fc.weight");
  add("linear.bias", "fc.bias");
  Metadata metadata = released_metadata(model, normalisation);
  metadata["format"] = "pt";
  metadata["names"] = "torchvision";
  write_safetensors(path, entries, metadata);
}

}  // namespace passnorm::models
