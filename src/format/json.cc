#include "format/json.h"

#include <algorithm>
#include <cinttypes>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "platform/file.h"

namespace sluice {
namespace {

struct Extent {
  size_t depth = 0;
  size_t keys = 0;
};

// What a parser would have to build, from brackets and colons alone; right for every valid document.
Extent measure(std::string_view text) {
  Extent extent;
  size_t open = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      extent.depth = std::max(extent.depth, ++open);
    } else if (c == '}' || c == ']') {
      if (open > 0) --open;
    } else if (c == ':') {
      ++extent.keys;
    }
  }
  return extent;
}

}  // namespace

nlohmann::ordered_json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits,
                                  const char* remedy) {
  if (text.size() > limits.bytes) {
    throw_error(ErrorKind::kCorrupt, "%s: %zu bytes of JSON are more than the %" PRIu64 " that are read; %s",
                where.c_str(), text.size(), limits.bytes, remedy);
  }
  const Extent extent = measure(text);
  if (extent.depth > limits.depth) {
    throw_error(ErrorKind::kCorrupt, "%s: JSON nested %zu deep; at most %zu is read; %s", where.c_str(),
                extent.depth, limits.depth, remedy);
  }
  if (extent.keys > limits.keys) {
    throw_error(ErrorKind::kCorrupt, "%s: %zu keys; at most %zu are read; %s", where.c_str(), extent.keys,
                limits.keys, remedy);
  }
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ...": the bracket says nothing to
    // users.
    std::string_view reason = e.what();
    if (const size_t end = reason.find("] "); end != std::string_view::npos) reason.remove_prefix(end + 2);
    throw_error(ErrorKind::kCorrupt, "%s: not valid JSON: %s; %s", where.c_str(),
                printable(reason, 200).c_str(), remedy);
  }
}

nlohmann::ordered_json read_json_file(const std::string& path, const JsonLimits& limits, const char* remedy) {
  return parse_json(read_text_file(path, limits.bytes), path, limits, remedy);
}

}  // namespace sluice
