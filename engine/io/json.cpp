#include "engine/io/json.hpp"

#include <set>
#include <utility>
#include <vector>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

/// Takes the parser's events. The library's own builder keeps the last of two equal keys and
/// searches linearly for each.
class Builder {
 public:
  explicit Builder(std::string_view name) : name_(name) {}
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(Json::number_integer_t value) { return put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t& value) { return put(std::move(value)); }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& key) {
    if (!open_.back().keys.insert(key).second)
      fail(Fault::kInput, name_, ": key ", quote(key), " stands twice in one object");
    open_.back().key = std::move(key);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) {
    std::string_view reason =
        error.what();  // "[json.exception.parse_error.101] parse error at line ...: reason"
    if (const size_t end = reason.find("] "); end != std::string_view::npos)
      reason.remove_prefix(end + 2);
    fail(Fault::kInput, name_, ": not valid JSON at byte ", position, ": ", printable(reason, 160));
  }

 private:
  struct Open {
    Json* value;                 ///< stays valid: only the innermost open container grows
    std::set<std::string> keys;  ///< of an object
    std::string key;             ///< of the member that comes next
  };

  Json* append(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Open& parent = open_.back();
    if (parent.value->is_array())
      return &parent.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    return &parent.value->get_ref<Json::object_t&>()
                .emplace_back(std::move(parent.key), std::move(value))
                .second;
  }
  bool put(Json value) {
    append(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (open_.size() >= kMaxJsonDepth)
      fail(Fault::kInput, name_, ": JSON nested deeper than ", kMaxJsonDepth);
    Json* const value = append(std::move(container));
    open_.push_back({value, {}, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view name_;
  Json root_;
  std::vector<Open> open_;
};

}  // namespace

Json parse_json(std::string_view name, std::string_view text) {
  if (const size_t zero = text.find('\0');
      zero != std::string_view::npos)  // the parser would take it for the end
    fail(Fault::kInput, name, ": not valid JSON at byte ", zero, ": a zero byte");
  Builder builder(name);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json read_json(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path, 100'000'000);
  return parse_json(path, text_of(bytes));
}

std::string dump_json(std::string_view name, const Json& value, int indent) {
  try {
    return value.dump(indent);
  } catch (const Json::exception&) {
    fail(Fault::kInput, name, ": a string is not valid UTF-8 and cannot be written as JSON");
  }
}

}  // namespace passnorm
