#include "cli/json_field.hpp"

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::cli {

JsonField::JsonField(const Json& value, const JsonField& parent, const std::string& step)
    : value_(&value), file_(parent.file_), place_(parent.place_) {
  if (!place_.empty() && !step.starts_with('[')) place_ += '.';
  place_ += step;
}

void JsonField::refuse(const std::string& why) const {
  fail(Fault::kInput, printable(file_, 4096), ": ", printable(place_, 200),
       place_.empty() ? "" : ": ", why);
}

JsonField JsonField::operator[](const char* key) const {
  if (!value_->is_object()) refuse(concat("an object was expected, not ", value_->type_name()));
  const auto it = value_->find(key);
  if (it == value_->end()) refuse(concat("the key \"", key, "\" is missing"));
  return JsonField(*it, *this, key);
}

std::optional<JsonField> JsonField::maybe(const char* key) const {
  if (!value_->is_object()) refuse(concat("an object was expected, not ", value_->type_name()));
  const auto it = value_->find(key);
  if (it == value_->end() || it->is_null()) return {};
  return JsonField(*it, *this, key);
}

std::vector<JsonField> JsonField::elements(size_t most) const {
  if (!value_->is_array()) refuse(concat("an array was expected, not ", value_->type_name()));
  if (value_->size() > most) refuse(concat("more than ", most, " elements"));
  std::vector<JsonField> out;
  for (const Json& element : *value_)
    out.push_back(JsonField(element, *this, concat('[', out.size(), ']')));
  return out;
}

std::vector<std::pair<std::string, JsonField>> JsonField::members(size_t most) const {
  if (!value_->is_object()) refuse(concat("an object was expected, not ", value_->type_name()));
  if (value_->size() > most) refuse(concat("more than ", most, " members"));
  std::vector<std::pair<std::string, JsonField>> out;
  for (const auto& [key, value] : value_->items())
    out.emplace_back(key, JsonField(value, *this, key));
  return out;
}

std::string JsonField::text() const {
  if (!value_->is_string()) refuse(concat("a text was expected, not ", value_->type_name()));
  return value_->get<std::string>();
}

bool JsonField::flag() const {
  if (!value_->is_boolean())
    refuse(concat("true or false was expected, not ", value_->type_name()));
  return value_->get<bool>();
}

int64_t JsonField::integer(int64_t least, int64_t most) const {
  const bool fits = value_->is_number_unsigned()
                        ? value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                        : value_->is_number_integer();
  if (!fits || value_->get<int64_t>() < least || value_->get<int64_t>() > most)
    refuse(concat("a whole number from ", least, " to ", most, " was expected"));
  return value_->get<int64_t>();
}

double JsonField::number(double least, double most) const {
  if (!value_->is_number()) refuse(concat("a number was expected, not ", value_->type_name()));
  const auto value = value_->get<double>();
  if (!(value >= least && value <= most))
    refuse(concat("a number from ", least, " to ", most, " was expected"));
  return value;
}

}  // namespace passnorm::cli
