#include "train/data/cross_domain.hpp"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>
#include <vector>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "kernels/runtime/random.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::train {
namespace {

constexpr uint32_t kLabelStream = 16;

template <class T>
bool parse(std::string_view text, T& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

/// Numbers of the examples whose class is none of `like`'s, in their order.
std::vector<int64_t> foreign(const Dataset& other, const Dataset& like) {
  if (other.is_cloud() != like.is_cloud() || other.w != like.w || other.h != like.h ||
      other.channels != like.channels)
    fail(Fault::kUsage, "triggers from another data set are ", other.form(), ", the data ",
         like.form());
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < other.n; ++i) {
    const auto label = static_cast<size_t>(other.labels[static_cast<size_t>(i)]);
    if (other.class_names.empty() ||
        std::ranges::find(like.class_names, other.class_names[label]) == like.class_names.end())
      numbers.push_back(i);
  }
  return numbers;
}

/// These examples for networks that take `like`; their labels stay.
Dataset select_for(const Dataset& like, const Dataset& other, std::span<const int64_t> numbers) {
  Dataset set = other.select(numbers);
  set.classes = like.classes;
  set.class_names = like.class_names;
  set.mean = like.mean;
  set.stddev = like.stddev;
  return set;
}

Dataset load_second(const CrossDomainSpec& spec, const Dataset& like) {
  DataSpec data = spec.data;
  if (like.is_cloud() && data.points == 0) data.points = like.w;
  return load(data, Split::kTest);
}

}  // namespace

std::optional<CrossDomainSpec> parse_cross_domain(std::string_view text) {
  const size_t mark = text.rfind('#');
  if (mark == std::string_view::npos || !is_data_set(text.substr(0, text.find_first_of(":#"))))
    return {};
  constexpr std::string_view kSeed = ":seed=";
  std::string_view count = text.substr(mark + 1), seed = "1";
  if (const size_t at = count.find(kSeed); at != std::string_view::npos) {
    seed = count.substr(at + kSeed.size());
    count = count.substr(0, at);
  }
  CrossDomainSpec spec;
  if (!parse(count, spec.count) || spec.count < 1 || std::cmp_greater(spec.count, kMaxTriggers) ||
      !parse(seed, spec.seed))
    fail(Fault::kUsage, "triggers ", quote(text), ": expected SPEC#COUNT or SPEC#COUNT:seed=N ",
         "with COUNT from 1 to ", kMaxTriggers);
  spec.data = parse_data_spec(text.substr(0, mark));
  return spec;
}

Dataset cross_domain_triggers(const Dataset& other, const Dataset& like, int64_t count,
                              uint64_t seed) {
  if (like.classes < 2) fail(Fault::kUsage, "triggers need data of two classes at least");
  const std::vector<int64_t> numbers = foreign(other, like);
  if (std::ssize(numbers) < count)
    fail(Fault::kUsage, "the second data set has ", numbers.size(), " ", other.noun(),
         " of classes that the first has not, ", count, " triggers are wanted");
  Dataset set = select_for(like, other, std::span(numbers).first(static_cast<size_t>(count)));
  const Random random(seed, Purpose::kSynthetic, kLabelStream);
  for (size_t i = 0; i < set.labels.size(); ++i) {
    int32_t& label = set.labels[i];
    const bool own = label < like.classes;
    const auto drawn =
        static_cast<int32_t>(random.below(i, static_cast<uint32_t>(like.classes - (own ? 1 : 0))));
    label = drawn + (own && drawn >= label ? 1 : 0);
  }
  return set;
}

Dataset load_cross_domain(const CrossDomainSpec& spec, const Dataset& like) {
  return cross_domain_triggers(load_second(spec, like), like, spec.count, spec.seed);
}

Dataset load_cross_domain_rest(const CrossDomainSpec& spec, const Dataset& like, int64_t most) {
  const Dataset other = load_second(spec, like);
  const std::vector<int64_t> numbers = foreign(other, like);
  const size_t first = std::min(static_cast<size_t>(spec.count), numbers.size());
  const size_t count = std::min(static_cast<size_t>(most), numbers.size() - first);
  Dataset set = select_for(like, other, std::span(numbers).subspan(first, count));
  std::ranges::fill(set.labels, 0);  // of other classes
  return set;
}

}  // namespace passnorm::train
