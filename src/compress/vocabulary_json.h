// Pieces of tokenizer.json that both kinds of vocabulary need. Inside the directory only.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace sluice {

using Json = nlohmann::ordered_json;  // what is written: finds and adds a key by linear search
using ReadJson = nlohmann::json;      // what is read: vocabularies of a hundred thousand keys

enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUser = 4, kUnused = 5, kByte = 6 };

// Error(kUnsupported): tokenizer.json or tokenizer.model at `where` has no equivalent in GGUF, and why.
[[noreturn]] void throw_not_for_gguf(const std::string& where, const std::string& why);

// A member that is a string, or `otherwise` where it is missing or null; throw_not_for_gguf() for others.
std::string json_text(const ReadJson& object, const char* key, const char* otherwise,
                      const std::string& where);
bool json_flag(const ReadJson& object, const char* key, bool otherwise);

// A merge, "left right", which newer files spell ["left", "right"]. throw_not_for_gguf() for others.
std::string json_merge(const ReadJson& merge, const std::string& where);

// One of "added_tokens".
Json added_token(size_t id, const std::string& content, bool special);

// "post_processor": tokens before and after the text, where the model wants them; null for none.
struct NamedToken {
  std::string text;
  int64_t id = 0;
};
Json template_processing(const std::optional<NamedToken>& before, const std::optional<NamedToken>& after);

}  // namespace sluice
