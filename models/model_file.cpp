#include "models/model_file.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"

namespace passnorm::models {
namespace {

constexpr std::string_view kFormat = "passnorm.model/1";
constexpr std::string_view kFolded = "folded";  // in the place of a norm's name
constexpr std::array<std::string_view, 2> kAffine = {".bn.weight", ".bn.bias"};

/// Calls f(spec, tensor) for every parameter and buffer.
template <class M, class F>
void for_each_tensor(M& model, F&& f) {
  for (auto& p : model.parameters().parameters()) f(p.spec, p.var.value);
  for (auto& b : model.parameters().buffers()) f(b.spec, b.value);
}

/// With as many digits as it takes to read the same numbers back.
std::string join(const std::vector<float>& values) {
  std::string out;
  for (const float v : values) {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.begin(), digits.end(), v).ptr;
    out += (out.empty() ? "" : ",") + std::string(digits.begin(), end);
  }
  return out;
}

class MetadataReader {
 public:
  explicit MetadataReader(const SafeTensors& file) : file_(file) {}

  const std::string* find(const std::string& key) const {
    const auto it = file_.metadata().find(key);
    return it == file_.metadata().end() ? nullptr : &it->second;
  }
  const std::string& text(const std::string& key) const {
    const std::string* value = find(key);
    if (!value)
      fail(Fault::kInput, file_.name(), ": not a model of this program: its metadata has no \"",
           key, "\"");
    return *value;
  }
  int64_t integer(const std::string& key, int64_t least, int64_t most) const {
    const std::string& t = text(key);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
    if (error != std::errc() || end != t.data() + t.size() || value < least || value > most)
      fail(Fault::kInput, file_.name(), ": metadata \"", key, "\" is ", quote(t),
           "; an integer from ", least, " to ", most, " was expected");
    return value;
  }
  /// count finite numbers above `above`.
  std::vector<float> floats(const std::string& key, size_t count, float above) const {
    const std::string& t = text(key);
    std::vector<float> values;
    const char *at = t.data(), *end = t.data() + t.size();
    while (at < end) {
      float value = 0;
      const auto [next, error] = std::from_chars(at, end, value);
      if (error != std::errc() || (next != end && *next != ',')) break;
      if (!std::isfinite(value) || value <= above) break;
      values.push_back(value);
      at = next == end ? end : next + 1;
    }
    if (at != end || values.size() != count)
      fail(Fault::kInput, file_.name(), ": metadata \"", key, "\" is ", quote(t), "; ", count,
           " numbers with commas were expected");
    return values;
  }

 private:
  const SafeTensors& file_;
};

}  // namespace

const std::string& released_name(const TensorSpec& spec) {
  return spec.released_name.empty() ? spec.name : spec.released_name;
}

std::vector<NamedTensor> released_tensors(const Model& model) {
  std::vector<NamedTensor> out;
  for_each_tensor(model, [&](const TensorSpec& spec, const Tensor& value) {
    if (spec.secret) return;
    out.push_back({released_name(spec), file_shape(spec),
                   to_file_order(spec, value.to_host(model.stream()))});
    if (!std::ranges::all_of(out.back().values, [](float v) { return std::isfinite(v); }))
      fail(Fault::kNumerics, "not written: ", spec.name, " holds NaN or infinite values");
  });
  return out;
}

Metadata released_metadata(const Model& model, const InputNormalisation& normalisation) {
  return {{"architecture", std::string(model.architecture().name)},
          {"classes", concat(model.options().classes)},
          {"mean", join(normalisation.mean)},
          {"std", join(normalisation.stddev)}};
}

std::vector<NamedTensor> passport_affine(const Model& model, const Passport& passport) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  const std::vector<float> used =
      model.gate(tape, model.read(tape, model.open(passport))).value.to_host(model.stream());
  std::vector<NamedTensor> out;
  auto at = used.begin();
  for (const Site& site : model.sites())
    for (const std::string_view what : kAffine) {
      const auto end = at + site.channels();
      out.push_back({concat(site.name, what), {site.channels()}, {at, end}});
      at = end;
    }
  return out;
}

std::vector<std::byte> ReleasedForm::bytes() const {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& t : tensors) entries.push_back({t.name, t.shape, std::span(t.values)});
  return safetensors_bytes(entries, metadata);
}

ReleasedForm released_form(const Model& model, const InputNormalisation& normalisation) {
  const ModelOptions& options = model.options();
  ReleasedForm form{released_metadata(model, normalisation), released_tensors(model)};
  form.metadata["format"] = kFormat;
  form.metadata["norm"] = options.folded ? kFolded : name_of(options.norm);
  form.metadata["residual_relu"] = options.residual_relu ? "1" : "0";
  if (!model.has_branch(Branch::kPublic)) form.metadata["affine"] = "passport";
  return form;
}

void save_released(const Model& model, const std::string& path,
                   const InputNormalisation& normalisation) {
  write_file_atomic(path, released_form(model, normalisation).bytes());
}

void take_lane_state(const Model& model, Passport& passport) {
  passport.lane_state.clear();
  passport.scheme = model.options().plan.scheme;
  for_each_tensor(model, [&](const TensorSpec& spec, const Tensor& value) {
    if (spec.secret)
      passport.lane_state.push_back(
          {spec.name, file_shape(spec), to_file_order(spec, value.to_host(model.stream()))});
  });
}

namespace {

/// Which scales and shifts the file has to bring.
enum class AffineRule {
  kOfTheScheme,  ///< those that the passport's scheme leaves to it
  kAny,          ///< none; too many are left out
};

LoadedModel load(const SafeTensors& file, const Passport* passport, std::shared_ptr<Stream> stream,
                 AffineRule rule) {
  const std::string& path = file.name();
  const MetadataReader metadata(file);
  if (const std::string& format = metadata.text("format"); format != kFormat)
    fail(Fault::kInput, path, ": is a ", quote(format), " file; a \"", kFormat,
         "\" file was expected");
  const bool affine_ships = !metadata.find("affine");
  if (!passport && !affine_ships)
    fail(Fault::kSecret, path,
         ": has no public branch (its scale and shift come from the passport); give --passport "
         "FILE");

  ModelOptions options{.classes = metadata.integer("classes", 2, 1 << 20),
                       .residual_relu = metadata.integer("residual_relu", 0, 1) == 1,
                       .initialise = false};
  // Before memory is taken for them. No architecture's classifier has fewer inputs.
  constexpr int64_t kLeastInputs = 64;
  if (std::ranges::none_of(file.tensors(), [&](const TensorInfo& t) {
        return t.shape.size() == 2 && t.shape[0] == options.classes && t.shape[1] >= kLeastInputs;
      }))
    fail(Fault::kInput, path, ": has no classifier of ", options.classes,
         " classes, which its metadata says");
  const Architecture* row = nullptr;
  try {
    row = &architecture(metadata.text("architecture"));
    options.folded = metadata.text("norm") == kFolded;
    if (!options.folded) options.norm = norm_kind(metadata.text("norm"));
  } catch (const Error& e) {
    if (e.fault() != Fault::kUsage) throw;
    fail(Fault::kInput, path, ": ", e.what());
  }
  if (passport) {
    options.plan = {.scheme = passport->scheme, .sites = {}};
    for (const SitePassport& s : passport->sites()) {
      options.plan.sites.push_back(s.site.name);
      if (row->of_points() && s.site.kind == Site::Kind::kConvolution)
        options.points = s.site.geometry.w;
    }
    if (options.folded && !options.plan.scheme->public_lane)
      fail(Fault::kInput, path, ": is folded, and the passport is one of scheme ",
           passport->scheme->name,
           ": folding multiplies each raw scale by itself, so that its sign, the bit, cannot be "
           "read; "
           "verify the file that was folded, or what this one answers on triggers (--black-box)");
    if (rule == AffineRule::kOfTheScheme && options.plan.scheme->public_lane != affine_ships)
      fail(Fault::kInput, path, ": the passport does not fit this model: it is one of scheme ",
           passport->scheme->name, affine_ships ? ", the model has a" : ", the model has no",
           " public branch");
  }
  const auto layers_with = [&](std::string_view tensor) {
    std::vector<std::string> layers;
    for (const TensorInfo& t : file.tensors())
      if (t.name.ends_with(tensor))
        layers.push_back(t.name.substr(0, t.name.size() - tensor.size()));
    return layers;
  };
  options.affine_layers = layers_with(".bn.weight");
  options.bias_layers = layers_with(".conv.bias");

  LoadedModel loaded;
  try {
    loaded.model = row->make(*row, stream, options);
  } catch (const Error& e) {
    if (e.fault() != Fault::kUsage) throw;
    fail(Fault::kInput, path, passport ? ": the passport does not fit this model: " : ": ",
         e.what());
  }
  const auto channels = static_cast<size_t>(row->input[2]);
  loaded.normalisation = {metadata.floats("mean", channels, -INFINITY),
                          metadata.floats("std", channels, 0)};

  const auto is_left_out = [&](std::string_view name) {
    const auto of = [&](const Site& site) {
      return std::ranges::any_of(
          kAffine, [&](std::string_view what) { return name == concat(site.name, what); });
    };
    return rule == AffineRule::kAny && !options.plan.scheme->public_lane &&
           std::ranges::any_of(loaded.model->sites(), of);
  };
  const auto may_be_missing = [&](std::string_view name) {
    return rule == AffineRule::kAny && !affine_ships &&
           std::ranges::any_of(kAffine,
                               [&](std::string_view what) { return name.ends_with(what); });
  };

  loaded.complete = affine_ships || !options.plan.scheme->public_lane;
  size_t used = 0;
  for_each_tensor(*loaded.model, [&](const TensorSpec& spec, const Tensor& value) {
    std::vector<float> elements;
    if (spec.secret) {
      const auto it = std::ranges::find(passport->lane_state, spec.name, &OwnedTensor::name);
      if (it == passport->lane_state.end() || it->shape != file_shape(spec))
        fail(Fault::kInput, path, ": the passport holds no ", spec.name, " that fits this model");
      elements = it->values;
    } else {
      const std::string& name = released_name(spec);
      const TensorInfo* t = file.find(name);
      if (!t && (spec.optional || may_be_missing(name))) {
        loaded.complete &= !may_be_missing(name);
        value.copy_from<float>(
            *stream, std::vector<float>(static_cast<size_t>(value.size()), spec.init.value));
        return;
      }
      if (!t) fail(Fault::kInput, path, ": tensor ", name, " is missing");
      if (t->shape != file_shape(spec) || t->dtype != DType::kF32)
        fail(Fault::kInput, path, ": tensor ", name, " has another type or shape than ", row->name,
             " with ", options.classes, " classes needs");
      if (const int64_t bad = count_nonfinite(*t))
        fail(Fault::kInput, path, ": tensor ", name, " holds ", bad,
             " values that are NaN or infinite");
      elements = to_f32(*t);
      ++used;
    }
    if (spec.name.ends_with(".running_var") && std::ranges::min(elements) < 0)
      fail(Fault::kInput, path, ": tensor ", spec.name, " holds a negative variance");
    value.copy_from<float>(*stream, from_file_order(spec, elements));
  });
  if (used != file.tensors().size()) {
    for (const TensorInfo& t : file.tensors()) {
      bool known = is_left_out(t.name);
      for_each_tensor(*loaded.model, [&](const TensorSpec& spec, const Tensor&) {
        known |= released_name(spec) == t.name;
      });
      if (!known)
        fail(Fault::kInput, path, ": tensor ", quote(t.name), " is not one of ", row->name);
    }
  }
  return loaded;
}

}  // namespace

LoadedModel load_released(const std::string& path, const Passport* passport,
                          std::shared_ptr<Stream> stream) {
  return load_released(SafeTensors::open(path), passport, std::move(stream));
}

LoadedModel load_released(const SafeTensors& file, const Passport* passport,
                          std::shared_ptr<Stream> stream) {
  return load(file, passport, std::move(stream), AffineRule::kOfTheScheme);
}

LoadedModel load_suspect(const std::string& path, const Passport& passport,
                         std::shared_ptr<Stream> stream) {
  return load_suspect(SafeTensors::open(path), passport, std::move(stream));
}

LoadedModel load_suspect(const SafeTensors& file, const Passport& passport,
                         std::shared_ptr<Stream> stream) {
  return load(file, &passport, std::move(stream), AffineRule::kAny);
}

}  // namespace passnorm::models
