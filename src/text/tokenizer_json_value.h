// Access to parsed JSON for the loaders: missing and null members give defaults, wrong types throw kCorrupt
// with the member's name. Inside the directory only.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

using JsonValue = simdjson::dom::element;
using JsonObject = simdjson::dom::object;
using JsonArray = simdjson::dom::array;

// A parsed document. Values refer to it.
class JsonDocument {
 public:
  // Throws kCorrupt, naming `where`, unless `json` is an object.
  JsonDocument(std::string_view json, const std::string& where);
  const JsonObject& root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  JsonObject root_;
};

// Members that are missing or null are nullopt.
std::optional<JsonValue> json_member(const JsonObject& object, std::string_view name);
std::optional<JsonObject> json_object(const JsonObject& object, std::string_view name);
std::optional<JsonArray> json_array(const JsonObject& object, std::string_view name);
std::optional<std::string_view> json_string(const JsonObject& object, std::string_view name);
std::optional<bool> json_bool(const JsonObject& object, std::string_view name);
std::optional<int64_t> json_integer(const JsonObject& object, std::string_view name);

// The values themselves; `name` is for the message.
std::string_view as_json_string(const JsonValue& value, std::string_view name);
int64_t as_json_integer(const JsonValue& value, std::string_view name);
JsonObject as_json_object(const JsonValue& value, std::string_view name);
JsonArray as_json_array(const JsonValue& value, std::string_view name);

}  // namespace sluice
