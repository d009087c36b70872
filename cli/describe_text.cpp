// Descriptions in words.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/describe.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

std::string text(const Json& value) {
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return printable(value.is_string() ? value.get<std::string>() : value.dump(), 200);
}

std::string text_or(const Json& json, const char* key, const char* otherwise) {
  return json.contains(key) ? text(json[key]) : otherwise;
}

std::string count(const Json& n, const char* what) {
  return fmt::format("{} {}{}", text(n), what, n == 1 ? "" : "s");
}

std::string join(const Json& array, const char* between) {
  std::string out;
  for (const Json& value : array) out += (out.empty() ? "" : between) + text(value);
  return out;
}

std::string size(const Json& json) {
  const auto bytes = json.at("bytes").get<uint64_t>();
  if (bytes < 1000) return count(bytes, "byte");
  return bytes < 1'000'000 ? fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3)
                           : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

std::string network(const Json& json) {
  std::string out =
      fmt::format("{}, {} classes", text_or(json, "architecture", "unknown architecture"),
                  text_or(json, "classes", "unknown"));
  if (json.contains("norm"))
    out += json["norm"] == "folded" ? ", batch norm folded into the convolutions"
                                    : fmt::format(", {} norm", text(json["norm"]));
  if (json.contains("affine")) out += ", scale and shift in its passport";
  if (json.contains("parameters")) out += fmt::format(", {} parameters", text(json["parameters"]));
  return out;
}

std::string passport(const Json& json) {
  const std::string signature = json["signature"]["text"];
  return fmt::format("{}, {}, {} bits, {} keys, signature {}, bits {}", text(json["scheme"]),
                     count(json["sites"].size(), "site"), text(json["bits"]), text(json["source"]),
                     signature.empty() ? "(no text)" : quote(signature),
                     json["bits_bound"] == true ? "bound" : "not bound");
}

/// The last line of metrics.jsonl has {"test_accuracy": {"public": x | null, ..}}, that of
/// metrics.csv "test_public" where it has a value.
std::string metrics(const Json& json) {
  const Json& last = json["last"];
  std::string out;
  for (const std::string branch : {"public", "passport"}) {
    Json accuracy = last.value("test_" + branch, Json());
    if (const auto test = last.find("test_accuracy"); test != last.end() && test->is_object())
      accuracy = test->value(branch, Json());
    if (accuracy.is_number())
      out += fmt::format(", {} {:.2f}%", branch, 100 * accuracy.get<double>());
  }
  return count(json["epochs"], "epoch") + (out.empty() ? "" : out + " on the test set");
}

/// "256 of 256 bits match, log2 p = -256.0, corrected -252.0, supported"
std::string claim(const Json& json, const char* what) {
  const double log2_p = json["log2_p"], corrected = log2_p + json["log2_tests"].get<double>();
  return fmt::format("{} of {} {} match, log2 p = {:.1f}, corrected {:.1f}, {}",
                     text(json["matched"]), text(json["total"]), what, log2_p,
                     std::min(corrected, 0.0), text(json["verdict"]));
}

std::string attack(const Json& json) {
  return fmt::format("{}{} on {}, scheme {}, {}; at the last {}", text(json["attack"]),
                     json["chain"].empty() ? "" : " after " + join(json["chain"], ", "),
                     text(json["architecture"]), text(json["scheme"]),
                     count(json["points"], "point"), claim(json["last"], "bits"));
}

/// One line without the path.
std::string summary(const Json& json) {
  if (json.contains("error")) return "cannot be told: " + text(json["error"]);
  const std::string kind = json["kind"];
  if (kind == "model") return "model: " + network(json);
  if (kind == "torchvision") return "model under torchvision's names: " + network(json);
  if (kind == "tensors") return "safetensors: " + count(json["tensors"].size(), "tensor");
  if (kind == "passport") return "passport: " + passport(json);
  if (kind == "trigger owner")
    return "the secret of a trigger set, for the name " +
           quote(json["signature"].get<std::string>());
  if (kind == "sealed")
    return fmt::format("sealed with a passphrase: a guess costs Argon2id, t = {}, {:.6g} MiB",
                       text(json["argon2id"]["passes"]),
                       json["argon2id"]["memory_bytes"].get<double>() / (1 << 20));
  if (kind == "checkpoint")
    return fmt::format("checkpoint: epoch {}, step {}, {}, checksum {}", text(json["epoch"]),
                       text(json["step"]), text_or(json["run"], "optimizer", "unknown optimiser"),
                       text(json["checksum"]));
  if (kind == "settings")
    return fmt::format("settings: {} on {}, scheme {}", text_or(json["values"], "model", "-"),
                       text_or(json["values"], "data", "-"),
                       text_or(json["values"], "scheme", "-"));
  if (kind == "metrics") return "metrics: " + metrics(json);
  if (kind == "claim")
    return "claim: " + claim(json, json["of"] == "passport" ? "bits" : "triggers");
  if (kind == "attack") return "results of an attack: " + attack(json);
  if (kind == "report")
    return fmt::format("report: {}, {} of attacks", count(json["networks"].size(), "network"),
                       count(json["attacks"], "result"));
  if (kind == "triggers")
    return fmt::format("list of {}, labels {}", count(json["count"], "trigger"),
                       json["bound"] == true
                           ? fmt::format("bound among {} classes", text(json["classes"]))
                           : "free");
  return "training run";
}

void add(std::string& out, const char* key, const std::string& value) {
  out += fmt::format("{:<11} {}\n", key, value);
}

/// A row per value that is there; those of an object under both names.
void add_rows(std::string& out, const Json& object, const std::string& prefix = {}) {
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix + printable(key, 200);
    if (value.is_object())
      add_rows(out, value, name + " ");
    else if (!value.is_null() && value != "")
      out += fmt::format("  {:<24} {}\n", name, text(value));
  }
}

void add_tensors(std::string& out, const Json& tensors) {
  size_t name = 0, shape = 0;
  for (const Json& t : tensors) {
    name = std::max(name, text(t["name"]).size());
    shape = std::max(shape, join(t["shape"], "x").size());
  }
  const auto number = [](const Json& v) {
    return v.is_null() ? std::string("-") : fmt::format("{:.4g}", v.get<double>());
  };
  for (const Json& t : tensors) {
    out += fmt::format("  {:<{}}  {:<4} {:<{}}  {:>10} to {:<10} mean {:>10}", text(t["name"]),
                       name, text(t["dtype"]), join(t["shape"], "x"), shape, number(t["min"]),
                       number(t["max"]), number(t["mean"]));
    if (t["not_finite"] != 0) out += fmt::format("  {} NaN or infinite", text(t["not_finite"]));
    out += "\n";
  }
}

void add_files(std::string& out, const Json& run) {
  const auto name = [&](const Json& file) {
    const std::filesystem::path path = file["path"].get<std::string>();
    return printable(path.lexically_relative(run["path"].get<std::string>()).string(), 200);
  };
  size_t width = 0;
  for (const Json& file : run["files"]) width = std::max(width, name(file).size());
  for (const Json& file : run["files"])
    out += fmt::format("  {:<{}}  {}\n", name(file), width, summary(file));
}

}  // namespace

std::string text_of_description(const Json& json) {
  std::string out = printable(json["path"].get<std::string>(), 4096) + "\n";
  add(out, "what", summary(json));
  if (json.contains("bytes")) add(out, "size", size(json));
  if (json.contains("loads"))
    add(out, "loads",
        json["loads"] == true    ? "yes"
        : json["loads"] == false ? "no: " + text(json["reason"])
                                 : text(json["loads"]));
  if (json.contains("mean"))
    add(out, "input",
        fmt::format("mean {}, std {}", join(json["mean"], " "), join(json["std"], " ")));
  if (json.contains("sha256")) add(out, "sha256", json["sha256"]);
  if (json.contains("blake2b_256")) add(out, "blake2b", json["blake2b_256"]);
  for (const char* rows : {"metadata", "run", "values", "last"})
    if (json.contains(rows)) add_rows(out, json[rows]);
  if (json.contains("files")) add_files(out, json);
  if (json.contains("lane_state")) {
    for (const Json& s : json["sites"])
      out += fmt::format("  {:<24} two keys {}, K {}, {} bits\n", text(s["name"]),
                         join(s["key"], "x"), text(s["window"]), text(s["bits"]));
    for (const Json& t : json["lane_state"])
      out += fmt::format("  {:<24} {}\n", text(t["name"]), join(t["shape"], "x"));
  }
  if (json.contains("tensors")) add_tensors(out, json["tensors"]);
  return out;
}

}  // namespace passnorm::cli
