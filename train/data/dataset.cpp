#include "train/data/dataset.hpp"

#include <algorithm>
#include <charconv>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/cifar.hpp"
#include "train/data/synthetic.hpp"

namespace passnorm::train {
namespace {

/// A row of the registry.
struct Kind {
  std::string_view name;
  std::string_view form;  ///< how it is named, for messages
  bool has_folder;
  ImageSet (*load)(const DataSpec& spec, Split split, int64_t limit);
};

constexpr Kind kKinds[] = {
    {"cifar10", "cifar10:DIR", true,
     [](const DataSpec& s, Split split, int64_t limit) { return cifar10(s.folder, split, limit); }},
    {"cifar100", "cifar100:DIR", true,
     [](const DataSpec& s, Split split, int64_t limit) {
       return cifar100(s.folder, split, limit);
     }},
    {"synthetic", "synthetic[:N=COUNT]", false,
     [](const DataSpec& s, Split split, int64_t limit) {
       const SyntheticOptions options =
           s.n > 0 ? SyntheticOptions::of_size(s.n) : SyntheticOptions{};
       return synthetic(options, split, limit);
     }},
};

const Kind& kind_of(std::string_view name) {
  const auto* found = std::ranges::find(kKinds, name, &Kind::name);
  if (found != std::end(kKinds)) return *found;
  std::string forms;
  std::vector<std::string_view> names;
  for (const Kind& kind : kKinds) {
    forms += (forms.empty() ? "" : ", ") + std::string(kind.form);
    names.push_back(kind.name);
  }
  const std::string_view near = nearest(name, names);
  fail(Fault::kUsage, "unknown data set ", quote(name), "; known are ", forms,
       near.empty() ? "" : "; did you mean " + std::string(near) + "?");
}

}  // namespace

DataSpec parse_data_spec(std::string_view text) {
  const size_t colon = text.find(':');
  const Kind& kind = kind_of(text.substr(0, colon));
  DataSpec spec{.name = std::string(kind.name), .folder = {}, .n = 0};
  const std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (kind.has_folder) {
    if (rest.empty()) fail(Fault::kUsage, "data set ", kind.name, " needs its folder: ", kind.form);
    spec.folder = rest;
  } else if (colon != std::string_view::npos) {
    const std::string_view digits = rest.starts_with("N=") ? rest.substr(2) : "";
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), spec.n);
    if (error != std::errc() || end != digits.data() + digits.size() || spec.n < 1 ||
        spec.n > kMaxSyntheticImages)
      fail(Fault::kUsage, "data set ", quote(text), ": expected ", kind.form,
           " with COUNT from 1 to ", kMaxSyntheticImages);
  }
  return spec;
}

ImageSet load(const DataSpec& spec, Split split, int64_t limit) {
  if (limit < 0)
    fail(Fault::kUsage, "data set ", spec.name, ": a limit of ", limit, " images; 0 means all");
  return kind_of(spec.name).load(spec, split, limit);
}

void choose_normalisation(ImageSet& set, std::string_view name) {
  if (name == "data") return;
  if (name != "imagenet")
    fail(Fault::kUsage, "unknown normalisation ", quote(name), "; known are data, imagenet");
  set.mean = {0.485f, 0.456f, 0.406f};
  set.stddev = {0.229f, 0.224f, 0.225f, 1};
}

}  // namespace passnorm::train
