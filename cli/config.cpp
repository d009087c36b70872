#include "cli/config.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <map>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

constexpr int64_t kMaxDots = 4096;

std::string position(std::string_view name, const toml::source_region& source) {
  return fmt::format("{}:{}:{}", printable(name, 4096), source.begin.line, source.begin.column);
}

/// Type, text and what a message calls it.
void describe(const toml::node& node, Assignment& a) {
  using Type = Assignment::Type;
  if (const auto* s = node.as_string()) {
    a.type = Type::kText;
    a.text = s->get();
    a.found = "the text " + quote(a.text);
  } else if (const auto* i = node.as_integer()) {
    a.type = Type::kInteger;
    a.text = fmt::format("{}", i->get());
    a.found = "the integer " + a.text;
  } else if (const auto* f = node.as_floating_point()) {
    a.type = Type::kNumber;
    a.text = fmt::format("{}", f->get());
    a.found = "the number " + a.text;
  } else if (const auto* b = node.as_boolean()) {
    a.type = Type::kBoolean;
    a.text = b->get() ? "true" : "false";
    a.found = a.text;
  } else {
    a.found = node.is_array()   ? "an array"
              : node.is_table() ? "a table"
              : node.is_time()  ? "a time"
                                : "a date";
  }
}

}  // namespace

std::vector<Assignment> parse_config(std::string_view name, std::string_view text) {
  if (text.size() > kMaxConfig)
    fail(Fault::kUsage, printable(name, 4096), ":1:1: longer than ", kMaxConfig, " bytes");
  // toml++ limits the depth of its recursion, but not for a.a.a.
  if (std::ranges::count(text, '.') > kMaxDots)
    fail(Fault::kUsage, printable(name, 4096), ":1:1: more than ", kMaxDots, " dots");
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    fail(Fault::kUsage, position(name, e.source()), ": ", printable(e.description(), 300));
  }
  std::vector<std::pair<toml::source_position, Assignment>> found;
  for (const auto& [key, node] : table) {
    Assignment a;
    a.key = key.str();
    std::ranges::replace(a.key, '_', '-');
    a.key_at = position(name, key.source());
    a.at = position(name, node.source());
    describe(node, a);
    found.emplace_back(key.source().begin, std::move(a));
  }
  std::ranges::sort(found, [](const auto& a, const auto& b) {
    return std::pair(a.first.line, a.first.column) < std::pair(b.first.line, b.first.column);
  });
  std::vector<Assignment> out;
  std::map<std::string, std::string> places;  // of keys
  for (auto& [at, a] : found) {
    const auto [first, is_new] = places.emplace(a.key, a.key_at);
    if (!is_new)
      fail(Fault::kUsage, a.key_at, ": ", printable(a.key),
           " stands here for the second time, first at ", first->second);
    out.push_back(std::move(a));
  }
  return out;
}

std::vector<Assignment> read_config(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path, kMaxConfig);
  return parse_config(path, text_of(bytes));
}

// A JSON string of printable text is a TOML string.
std::string toml_string(std::string_view text) { return dump_json("text", Json(text)); }

}  // namespace passnorm::cli
