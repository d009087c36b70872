#include "cli/describe.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "cli/config.hpp"
#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "models/model_file.hpp"
#include "train/checkpoint.hpp"
#include "train/data/trigger_binding.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxText = uint64_t{1} << 30;
constexpr uint64_t kMaxTensors = uint64_t{64} << 30;
constexpr size_t kHead = 4096;
constexpr std::string_view kModel = "passnorm.model/", kPassport = "passnorm.passport/",
                           kCheckpoint = "passnorm.checkpoint/",
                           kTriggerOwner = "passnorm.trigger-owner/";

std::string shown(const std::string& path) { return printable(path, 4096); }

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
  double sum = 0;
  int64_t finite = 0;

  void add(double v) {
    if (!std::isfinite(v)) return;
    least = std::min(least, v);
    most = std::max(most, v);
    sum += v;
    ++finite;
  }
};

template <class T>
void add_elements(const TensorInfo& t, Range& range) {
  for (size_t at = 0; at < t.data.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, t.data.data() + at, sizeof value);
    if constexpr (std::is_arithmetic_v<T>)
      range.add(static_cast<double>(value));
    else
      range.add(static_cast<float>(value));
  }
}

Range range_of(const TensorInfo& t) {
  Range range;
  switch (t.dtype) {
    case DType::kF32:
      add_elements<float>(t, range);
      break;
    case DType::kBF16:
      add_elements<bfloat16>(t, range);
      break;
    case DType::kF16:
      add_elements<float16>(t, range);
      break;
    case DType::kF64:
      add_elements<double>(t, range);
      break;
    case DType::kU8:
      add_elements<uint8_t>(t, range);
      break;
    case DType::kI8:
      add_elements<int8_t>(t, range);
      break;
    case DType::kI32:
      add_elements<int32_t>(t, range);
      break;
    case DType::kI64:
      add_elements<int64_t>(t, range);
      break;
  }
  return range;
}

Json tensors_json(const SafeTensors& file) {
  Json tensors = Json::array();
  for (const TensorInfo& t : file.tensors()) {
    const Range r = range_of(t);
    const auto value = [&](double v) { return r.finite > 0 ? Json(v) : Json(nullptr); };
    tensors.push_back({{"name", t.name},
                       {"dtype", name_of(t.dtype)},
                       {"shape", t.shape},
                       {"min", value(r.least)},
                       {"max", value(r.most)},
                       {"mean", value(r.sum / static_cast<double>(r.finite))},
                       {"not_finite", t.size() - r.finite}});
  }
  return tensors;
}

Json start(const std::string& path, const char* kind) {
  std::error_code none;
  return {{"path", path}, {"kind", kind}, {"bytes", fs::file_size(path, none)}};
}

/// A number in metadata; text that is none stays text.
template <class T>
Json number_or_text(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? Json(value) : Json(text);
}

std::vector<std::string> cells(std::string_view line) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(',', at), line.size());
    out.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// Whether this program can use it, or why not.
void add_loads(Json& json, const std::string& path) {
  try {
    const auto loaded = models::load_released(path, nullptr, make_stream(Device::cpu()));
    json["parameters"] = loaded.model->parameters().count();
    json["loads"] = true;
  } catch (const Error& e) {
    if (e.fault() == Fault::kSecret) {
      json["loads"] = "with its passport";
      return;
    }
    if (e.fault() != Fault::kInput) throw;
    json["loads"] = false;
    json["reason"] = e.what();
  }
}

Json describe_passport(const std::string& path) {
  const Passport passport = Passport::load(path);
  constexpr const char* kKinds[] = {"text", "ascii", "random", "free"};
  Json sites = Json::array();
  for (const SitePassport& s : passport.sites()) {
    const kernels::ConvGeometry& g = s.site.geometry;
    sites.push_back({{"name", s.site.name},
                     {"key", s.site.kind == Site::Kind::kLinear ? Json::array({g.c})
                                                                : Json::array({g.c, g.h, g.w})},
                     {"window", g.window()},
                     {"bits", s.site.channels()}});
  }
  Json lane_state = Json::array();
  for (const OwnedTensor& t : passport.lane_state)
    lane_state.push_back({{"name", t.name}, {"shape", t.shape}});
  Json json = start(path, "passport");
  json["sealed"] = false;
  json["scheme"] = passport.scheme->name;
  json["source"] = name_of(passport.source());
  json["signature"] = {{"kind", kKinds[static_cast<size_t>(passport.signature().kind)]},
                       {"text", passport.signature().text}};
  json["bits"] = passport.bit_count();
  json["bits_bound"] = passport.bits_bound();
  json["sites"] = sites;
  json["lane_state"] = lane_state;
  return json;
}

Json describe_trigger_owner(const std::string& path) {
  Json json = start(path, "trigger owner");
  json["sealed"] = false;
  json["signature"] = train::TriggerOwner::load(path).signature;
  return json;
}

/// engine/io/seal.hpp gives the format.
Json describe_sealed(const std::string& path, std::string_view head) {
  const auto number = [&](size_t at) {
    if (head.size() < at + 8) fail(Fault::kInput, shown(path), ": a sealed file, cut off");
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | static_cast<unsigned char>(head[at + i]);
    return value;
  };
  Json json = start(path, "sealed");
  json["sealed"] = true;
  json["argon2id"] = {{"passes", number(18)}, {"memory_bytes", number(26)}};
  return json;
}

Json describe_checkpoint(const std::string& path) {
  const train::Checkpoint c = train::parse_checkpoint(path, read_file(path, kMaxTensors));
  Json json = start(path, "checkpoint");
  json["epoch"] = c.position.epoch;
  json["step"] = c.position.step;
  json["checksum"] = "ok";
  Json run = Json::object();
  for (const char* key : {"model", "epochs", "batch", "precision", "optimizer", "lr", "schedule"})
    if (const auto it = c.run.find(key); it != c.run.end()) run[key] = it->second;
  json["run"] = run;
  Json arenas = Json::array();
  for (const auto& [name, values] : c.arenas)
    arenas.push_back({{"name", name}, {"size", values.size()}});
  json["arenas"] = arenas;
  return json;
}

Json describe_settings(const std::string& path, std::string_view text) {
  Json json = start(path, "settings"), values = Json::object();
  try {
    for (const Assignment& a : parse_config(path, text))
      if (a.key != "seed") values[a.key] = a.text;
  } catch (const Error& e) {
    if (e.fault() != Fault::kUsage) throw;
    fail(Fault::kInput, e.what());
  }
  json["values"] = values;
  return json;
}

Json describe_tensors(const std::string& path) {
  Json digests;
  const SafeTensors file = [&] {
    std::vector<std::byte> bytes = read_file(path, kMaxTensors);
    digests = {{"sha256", to_hex(sha256(bytes))}, {"blake2b_256", to_hex(blake2b256(bytes))}};
    return SafeTensors::parse(path, std::move(bytes));
  }();
  const auto metadata = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::string() : it->second;
  };
  const std::string format = metadata("format");
  if (format.starts_with(kPassport)) return describe_passport(path);
  if (format.starts_with(kTriggerOwner)) return describe_trigger_owner(path);
  if (format.starts_with(kCheckpoint)) return describe_checkpoint(path);
  const bool model = format.starts_with(kModel), torchvision = metadata("names") == "torchvision";
  Json json = start(path, model ? "model" : torchvision ? "torchvision" : "tensors");
  if (model || torchvision) {
    for (const char* key : {"architecture", "classes", "norm", "affine"})
      if (!metadata(key).empty()) json[key] = number_or_text<int64_t>(metadata(key));
    for (const char* key : {"mean", "std"})
      for (const std::string& value : cells(metadata(key)))
        json[key].push_back(number_or_text<double>(value));
  }
  if (model) add_loads(json, path);
  json.update(digests);  // what sha256sum and b2sum -l 256 print
  if (!model && !torchvision) json["metadata"] = file.metadata();
  json["tensors"] = tensors_json(file);
  return json;
}

/// The last line of text that is not empty, and how many there are.
std::pair<std::string_view, int64_t> last_line(std::string_view text) {
  std::string_view last;
  int64_t lines = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) {
      last = text.substr(at, end - at);
      ++lines;
    }
    at = end + 1;
  }
  return {last, lines};
}

constexpr std::string_view kCsvHeader = "epoch,lr,";

Json describe_csv(const std::string& path, std::string_view text) {
  const auto [last, lines] = last_line(text);
  const std::vector<std::string> names = cells(text.substr(0, text.find('\n'))),
                                 values = cells(last);
  if (lines > 1 && names.size() != values.size())
    fail(Fault::kInput, shown(path), ": its last line has ", values.size(), " cells, not ",
         names.size());
  Json json = start(path, "metrics"), row = Json::object();
  json["epochs"] = lines - 1;
  for (size_t i = 0; lines > 1 && i < names.size(); ++i)
    if (!values[i].empty()) row[names[i]] = number_or_text<double>(values[i]);
  json["last"] = row;
  return json;
}

Json describe_json_lines(const std::string& path, std::string_view text) {
  const auto [last, lines] = last_line(text);
  const Json row = parse_json(path, last);
  if (!row.is_object() || !row.contains("epoch"))
    fail(Fault::kInput, shown(path), ": JSON, but no metrics of a training run");
  Json json = start(path, "metrics");
  json["epochs"] = lines;
  json["last"] = row;
  return json;
}

Json describe_run(const std::string& path) {
  std::vector<fs::path> found;
  std::error_code none;
  for (const char* name : {"model.safetensors", "owner.passport", "config.toml", "metrics.jsonl",
                           "metrics.csv", "verify.json"})
    if (fs::exists(fs::path(path) / name, none)) found.push_back(fs::path(path) / name);
  std::vector<fs::path> checkpoints;
  for (const auto& entry : fs::directory_iterator(fs::path(path) / "checkpoints", none))
    if (entry.path().extension() == ".safetensors") checkpoints.push_back(entry.path());
  std::ranges::sort(checkpoints);
  found.insert(found.end(), checkpoints.begin(), checkpoints.end());
  if (found.empty()) fail(Fault::kInput, shown(path), ": a folder, but no training run");
  Json files = Json::array();
  for (const fs::path& file : found) {
    try {
      files.push_back(describe(file.string()));
      files.back().erase("tensors");
    } catch (const Error& e) {
      files.push_back({{"path", file.string()}, {"error", e.what()}});
    }
  }
  return {{"path", path}, {"kind", "run"}, {"files", files}};
}

std::string read_head(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string head(kHead, '\0');
  in.read(head.data(), kHead);
  head.resize(static_cast<size_t>(in.gcount()));
  return head;
}

}  // namespace

Json describe(const std::string& path) {
  std::error_code none;
  if (fs::is_directory(path, none)) return describe_run(path);
  if (fs::exists(path, none) && !fs::is_regular_file(path, none))
    fail(Fault::kInput, shown(path), ": neither a file nor a folder");
  const std::string head = read_head(path);
  if (is_sealed(bytes_of(head))) return describe_sealed(path, head);
  if (head.size() > 8 && head[8] == '{')
    // A secret that this program wrote says so at the front, and is read into wiped memory only.
    return head.find(kPassport) != head.npos       ? describe_passport(path)
           : head.find(kTriggerOwner) != head.npos ? describe_trigger_owner(path)
                                                   : describe_tensors(path);
  const std::vector<std::byte> bytes = read_file(path, kMaxText);
  const std::string_view text = text_of(bytes);
  if (text.starts_with('{')) {
    const Json document = describe_document(path, text);
    return document.is_null() ? describe_json_lines(path, text) : document;
  }
  if (text.starts_with(kCsvHeader)) return describe_csv(path, text);
  if (fs::path(path).extension() == ".toml") return describe_settings(path, text);
  fail(Fault::kInput, shown(path),
       ": not a model, passport, checkpoint, config.toml, metrics file or JSON document of this "
       "program, and not a safetensors file");
}

}  // namespace passnorm::cli
