// Ways to make text of values: JSON, printf, str.format and dates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace sluice::jinja {

// Python's json.dumps, as the tojson filter has it.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;  // items on lines of their own
  std::string indent;     // per level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string to_json(const Value& value, const JsonStyle& style);

// format % value
std::string percent_format(std::string_view format, const Value& value);

// format.format(*args.positional, **args.named)
std::string brace_format(Interpreter& interpreter, std::string_view format, const Args& args);

// Local civil time in seconds since 1970-01-01 00:00.
int64_t local_now();
std::string format_time(std::string_view format, int64_t now);

}  // namespace sluice::jinja
