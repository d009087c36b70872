#include "train/data/dataset.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/cifar.hpp"
#include "train/data/modelnet.hpp"
#include "train/data/npy.hpp"
#include "train/data/pictures.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"

namespace passnorm::train {
namespace {

constexpr int64_t kMaxSyntheticPoints = int64_t{1} << 28;  // of all training clouds: 3 GiB

/// A row of the registry.
struct Kind {
  std::string_view name;
  std::string_view form;  ///< how it is named, for messages
  bool has_folder, has_points;
  Dataset (*load)(const DataSpec& spec, Split split, int64_t limit);
};

constexpr Kind kKinds[] = {
    {"cifar10", "cifar10:DIR", true, false,
     [](const DataSpec& s, Split split, int64_t limit) { return cifar10(s.folder, split, limit); }},
    {"cifar100", "cifar100:DIR", true, false,
     [](const DataSpec& s, Split split, int64_t limit) {
       return cifar100(s.folder, split, limit);
     }},
    {"pictures", "pictures:DIR", true, false,
     [](const DataSpec& s, Split split, int64_t limit) {
       return pictures(s.folder, split, limit);
     }},
    {"synthetic", "synthetic[:N=COUNT]", false, false,
     [](const DataSpec& s, Split split, int64_t limit) {
       const SyntheticOptions options =
           s.n > 0 ? SyntheticOptions::of_size(s.n) : SyntheticOptions{};
       return synthetic(options, split, limit);
     }},
    {"modelnet", "modelnet:DIR[:points=COUNT]", true, true,
     [](const DataSpec& s, Split split, int64_t limit) {
       return modelnet(s.folder, split, s.points > 0 ? s.points : kDefaultPoints, limit);
     }},
    {"synthetic3d", "synthetic3d[:N=COUNT][:points=COUNT]", false, true,
     [](const DataSpec& s, Split split, int64_t limit) {
       Synthetic3dOptions options =
           s.n > 0 ? Synthetic3dOptions::of_size(s.n) : Synthetic3dOptions{};
       if (s.points > 0) options.points = s.points;
       return synthetic3d(options, split, limit);
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

/// The count behind `key` at the start of `option`; none when it is another option.
std::optional<int64_t> count_of(std::string_view text, std::string_view option,
                                std::string_view key, int64_t most) {
  if (!option.starts_with(key)) return {};
  const std::string_view digits = option.substr(key.size());
  int64_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size() || count < 1 || count > most)
    fail(Fault::kUsage, "data set ", quote(text), ": expected ", key, "COUNT with COUNT from 1 to ",
         most);
  return count;
}

}  // namespace

std::string Dataset::form() const {
  return is_cloud() ? concat("clouds of ", w, " points")
                    : concat(channels, "x", h, "x", w, " images");
}

Dataset Dataset::select(std::span<const int64_t> index) const {
  Dataset out{.n = std::ssize(index),
              .channels = channels,
              .h = h,
              .w = w,
              .classes = classes,
              .class_names = class_names,
              .mean = mean,
              .stddev = stddev};
  for (const int64_t i : index) {
    PASSNORM_CHECK(i >= 0 && i < n, noun(), " ", i, " of ", n);
    if (is_cloud())
      std::ranges::copy(cloud(i), std::back_inserter(out.points));
    else
      std::ranges::copy(image(i), std::back_inserter(out.images));
    out.labels.push_back(labels[static_cast<size_t>(i)]);
  }
  return out;
}

DataSpec parse_data_spec(std::string_view text) {
  const size_t colon = text.find(':');
  const Kind& kind = kind_of(text.substr(0, colon));
  DataSpec spec{.name = std::string(kind.name)};
  std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const auto take_points = [&](std::string_view option) {
    const auto count = count_of(text, option, "points=", kMaxPoints);
    if (count) spec.points = *count;
    return count.has_value();
  };
  if (kind.has_folder) {
    // A folder may have a colon in its name: only what looks like the option is one.
    if (const size_t last = rest.rfind(':');
        kind.has_points && last != std::string_view::npos && take_points(rest.substr(last + 1)))
      rest = rest.substr(0, last);
    if (rest.empty()) fail(Fault::kUsage, "data set ", kind.name, " needs its folder: ", kind.form);
    spec.folder = rest;
    return spec;
  }
  for (bool more = colon != std::string_view::npos; more;) {
    const size_t end = rest.find(':');
    const std::string_view option = rest.substr(0, end);
    more = end != std::string_view::npos;
    rest = more ? rest.substr(end + 1) : "";
    if (const auto n = count_of(text, option, "N=", kMaxSyntheticImages); n && spec.n == 0)
      spec.n = *n;
    else if (n || !kind.has_points || spec.points > 0 || !take_points(option))
      fail(Fault::kUsage, "data set ", quote(text), ": expected ", kind.form,
           " with COUNT from 1 to ", kMaxSyntheticImages);
  }
  const int64_t clouds = spec.n > 0 ? spec.n : Synthetic3dOptions().train;
  if (clouds * spec.points > kMaxSyntheticPoints)
    fail(Fault::kUsage, "data set ", quote(text), ": ", clouds, " clouds have more than ",
         kMaxSyntheticPoints, " points in all");
  return spec;
}

bool is_data_set(std::string_view name) {
  return std::ranges::find(kKinds, name, &Kind::name) != std::end(kKinds);
}

Dataset load(const DataSpec& spec, Split split, int64_t limit) {
  if (limit < 0)
    fail(Fault::kUsage, "data set ", spec.name, ": a limit of ", limit, "; 0 means all");
  return kind_of(spec.name).load(spec, split, limit);
}

void choose_normalisation(Dataset& set, std::string_view name) {
  if (name == "data") return;
  if (name != "imagenet")
    fail(Fault::kUsage, "unknown normalisation ", quote(name), "; known are data, imagenet");
  if (set.is_cloud())
    fail(Fault::kUsage, "normalisation ", name, " is for images; clouds are taken as they are");
  set.mean = {0.485f, 0.456f, 0.406f};
  set.stddev = {0.229f, 0.224f, 0.225f, 1};
}

}  // namespace passnorm::train
