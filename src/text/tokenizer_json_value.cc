#include "text/tokenizer_json_value.h"

#include "base/error.h"

namespace sluice {
namespace {

[[noreturn]] void throw_type(std::string_view name, const char* expected) {
  throw_error(ErrorKind::kCorrupt, "tokenizer file: \"%s\" is not %s", printable(name).c_str(), expected);
}

}  // namespace

JsonDocument::JsonDocument(std::string_view json, const std::string& where) {
  JsonValue value;
  const auto error = parser_.parse(json.data(), json.size(), /*realloc_if_needed=*/true).get(value);
  if (error) {
    throw_error(ErrorKind::kCorrupt, "%s: not valid JSON: %s", where.c_str(), simdjson::error_message(error));
  }
  if (value.get(root_)) throw_error(ErrorKind::kCorrupt, "%s: not a JSON object", where.c_str());
}

std::string_view as_json_string(const JsonValue& value, std::string_view name) {
  std::string_view text;
  if (value.get(text)) throw_type(name, "a string");
  return text;
}

int64_t as_json_integer(const JsonValue& value, std::string_view name) {
  int64_t number = 0;
  if (value.get(number)) throw_type(name, "an integer");
  return number;
}

JsonObject as_json_object(const JsonValue& value, std::string_view name) {
  JsonObject object;
  if (value.get(object)) throw_type(name, "an object");
  return object;
}

JsonArray as_json_array(const JsonValue& value, std::string_view name) {
  JsonArray array;
  if (value.get(array)) throw_type(name, "an array");
  return array;
}

std::optional<JsonValue> json_member(const JsonObject& object, std::string_view name) {
  JsonValue value;
  if (object.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

std::optional<JsonObject> json_object(const JsonObject& object, std::string_view name) {
  const auto value = json_member(object, name);
  return value ? std::optional(as_json_object(*value, name)) : std::nullopt;
}

std::optional<JsonArray> json_array(const JsonObject& object, std::string_view name) {
  const auto value = json_member(object, name);
  return value ? std::optional(as_json_array(*value, name)) : std::nullopt;
}

std::optional<std::string_view> json_string(const JsonObject& object, std::string_view name) {
  const auto value = json_member(object, name);
  return value ? std::optional(as_json_string(*value, name)) : std::nullopt;
}

std::optional<bool> json_bool(const JsonObject& object, std::string_view name) {
  const auto value = json_member(object, name);
  if (!value) return std::nullopt;
  bool flag = false;
  if (value->get(flag)) throw_type(name, "true or false");
  return flag;
}

std::optional<int64_t> json_integer(const JsonObject& object, std::string_view name) {
  const auto value = json_member(object, name);
  return value ? std::optional(as_json_integer(*value, name)) : std::nullopt;
}

}  // namespace sluice
