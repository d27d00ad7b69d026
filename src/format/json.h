// JSON documents from files of unknown origin: capped in size, depth and number of keys, so that no document
// exhausts stack, memory or time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace sluice {

struct JsonLimits {
  uint64_t bytes = 64u << 20;
  size_t depth = 64;      // of arrays and objects in one another
  size_t keys = 1 << 14;  // in all objects together; ordered_json finds a key by linear search
};

// `where` names the document in messages and `remedy` says what to do about one that is bad; most come with a
// model. Error(kCorrupt) for what is not JSON or exceeds a limit.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& where,
                                  const JsonLimits& limits = {},
                                  const char* remedy = "download the file again");

// The same from a file. Also Error(kNotFound, kIo).
nlohmann::ordered_json read_json_file(const std::string& path, const JsonLimits& limits = {},
                                      const char* remedy = "download the file again");

}  // namespace sluice
