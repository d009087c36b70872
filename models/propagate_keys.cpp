#include "models/propagate_keys.hpp"

#include <algorithm>
#include <map>

namespace passnorm::models {
namespace {

/// Input of a layer, on the host: of one picture it is the key.
struct LayerInput {
  Shape shape;                 ///< [n, H, W, C]
  SecretVector<float> values;  ///< [n, C, H, W]
};

/// Of the layers at the sites.
std::map<std::string, LayerInput> layer_inputs(Model& model, std::span<const Site> sites,
                                               const Tensor& images, Mode mode) {
  std::map<std::string, LayerInput> inputs;
  model.on_layer_input = [&](const std::string& layer, const Var& x) {
    if (std::ranges::find(sites, layer, &Site::name) == sites.end()) return;
    const TensorSpec spec{.name = layer, .shape = x.shape(), .layout = FileLayout::kConvolution};
    std::vector<float> host = x.value.to_host(model.stream());
    std::vector<float> file = to_file_order(spec, host);
    inputs[layer] = {x.shape(), {file.begin(), file.end()}};
    for (std::vector<float>* copy : {&host, &file})
      wipe({reinterpret_cast<uint8_t*>(copy->data()), copy->size() * sizeof(float)});
  };
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  Pass pass{.tape = tape, .mode = mode, .passport = nullptr};
  const std::shared_ptr<void> restore(nullptr, [&](void*) { model.on_layer_input = nullptr; });
  model.forward(pass, {images, Lanes::only(Branch::kPublic), nullptr});
  return inputs;
}

/// Uniform integers from a secret.
class Draw {
 public:
  Draw(const Secret32& secret, const std::string& name, int64_t count)
      : words_(keyed_stream_u32(secret, "passnorm key channels v1", name, count)) {}
  size_t below(size_t n) { return static_cast<size_t>((uint64_t{words_.at(at_++)} * n) >> 32); }

 private:
  SecretVector<uint32_t> words_;
  size_t at_ = 0;
};

SecretVector<float> one_key(const LayerInput& input, const Secret32& secret,
                            const std::string& name) {
  const auto n = static_cast<size_t>(input.shape[0]), c = static_cast<size_t>(input.shape[3]);
  const size_t plane = input.values.size() / (n * c);
  const auto channel = [&](size_t image, size_t from) {
    return std::span(input.values).subspan((image * c + from) * plane, plane);
  };
  Draw draw(secret, name, static_cast<int64_t>(c) + 1);
  SecretVector<float> key;
  key.reserve(c * plane);
  const size_t whole = draw.below(n);
  std::vector<std::vector<size_t>> unused(n);
  for (auto& channels : unused)
    for (size_t i = 0; i < c; ++i) channels.push_back(i);
  for (size_t j = 0; j < c; ++j) {
    size_t image = whole, from = j;
    if (n > 1 && c != 3) {
      image = j % n;
      auto& left = unused[image];
      const size_t pick = draw.below(left.size());
      from = left[pick];
      left[pick] = left.back();
      left.pop_back();
    }
    const auto source = channel(image, from);
    key.insert(key.end(), source.begin(), source.end());
  }
  return key;
}

}  // namespace

Passport propagate_keys(Model& pretrained, std::span<const Site> sites, const KeyImages& images,
                        const PropagateOptions& o) {
  const Mode mode = o.batch_statistics ? Mode::kTrain : Mode::kEvaluate;
  const auto shift = layer_inputs(pretrained, sites, images.shift, mode);
  const auto scale = layer_inputs(pretrained, sites, images.scale, mode);
  std::vector<SitePassport> keys;
  for (const Site& site : sites) {
    const auto at = scale.find(site.name);
    if (at == scale.end())
      fail(Fault::kUsage, "the pretrained ", pretrained.architecture().name, " has no layer ",
           site.name);
    const kernels::ConvGeometry& g = site.geometry;
    if (at->second.shape != Shape{at->second.shape[0], g.h, g.w, g.c})
      fail(Fault::kUsage, "the pretrained network's ", site.name, " takes ", at->second.shape,
           ", the passport's ", g.h, "x", g.w, "x", g.c);
    keys.push_back({site,
                    one_key(at->second, o.secret, "scale/" + site.name),
                    one_key(shift.at(site.name), o.secret, "shift/" + site.name),
                    {}});
  }
  return Passport::from_keys(std::move(keys), o.source, o.signature);
}

}  // namespace passnorm::models
