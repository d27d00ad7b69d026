#include "text/tokenizer_config.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace sluice {
namespace {

// A token is written as its text or as an object with "content".
std::optional<std::string> token_name(const JsonObject& config, std::string_view name) {
  const auto value = json_member(config, name);
  if (!value) return std::nullopt;
  if (value->is_object()) {
    const auto content = json_string(as_json_object(*value, name), "content");
    return content ? std::optional<std::string>(*content) : std::nullopt;
  }
  return std::string(as_json_string(*value, name));
}

int32_t checked_id(int64_t id) {
  if (id < 0 || id > Vocabulary::kMaxId) {
    throw_error(ErrorKind::kCorrupt, "tokenizer file: token id %lld is not in [0, %d]",
                static_cast<long long>(id), Vocabulary::kMaxId);
  }
  return static_cast<int32_t>(id);
}

std::optional<int32_t> find_token(const TokenizerParts& parts, const std::optional<std::string>& name) {
  const int32_t id = name ? parts.vocabulary.find(*name) : -1;
  return id >= 0 ? std::optional(id) : std::nullopt;
}

}  // namespace

AddedToken parse_added_token(const JsonObject& object, int64_t id) {
  AddedToken token;
  token.id = checked_id(id);
  token.content = json_string(object, "content").value_or("");
  token.special = json_bool(object, "special").value_or(false);
  token.lstrip = json_bool(object, "lstrip").value_or(false);
  token.rstrip = json_bool(object, "rstrip").value_or(false);
  token.single_word = json_bool(object, "single_word").value_or(false);
  token.normalized = json_bool(object, "normalized").value_or(!token.special);
  return token;
}

TokenizerConfig parse_tokenizer_config(std::string_view json) {
  TokenizerConfig config;
  if (json.empty()) return config;
  const JsonDocument document(json, "tokenizer_config.json");
  const JsonObject& root = document.root();
  config.tokenizer_class = json_string(root, "tokenizer_class").value_or("");
  config.bos = token_name(root, "bos_token");
  config.eos = token_name(root, "eos_token");
  config.pad = token_name(root, "pad_token");
  config.unk = token_name(root, "unk_token");
  config.add_bos = json_bool(root, "add_bos_token");
  config.add_eos = json_bool(root, "add_eos_token");
  if (const auto added = json_object(root, "added_tokens_decoder")) {
    for (const auto field : *added) {
      int64_t id = -1;
      std::from_chars(field.key.data(), field.key.data() + field.key.size(), id);
      config.added.push_back(parse_added_token(as_json_object(field.value, field.key), id));
    }
  }
  return config;
}

void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts* parts) {
  if (const auto id = find_token(*parts, config.bos)) parts->bos = id;
  if (const auto id = find_token(*parts, config.eos)) parts->eos = id;
  if (const auto id = find_token(*parts, config.pad)) parts->pad = id;
  if (const auto id = find_token(*parts, config.unk)) parts->unk = id;
  if (config.add_bos && parts->bos) {
    std::erase(parts->prefix, *parts->bos);
    if (*config.add_bos) parts->prefix.insert(parts->prefix.begin(), *parts->bos);
  }
  if (config.add_eos && parts->eos) {
    std::erase(parts->suffix, *parts->eos);
    if (*config.add_eos) parts->suffix.push_back(*parts->eos);
  }
}

std::vector<int32_t> parse_end_ids(std::string_view json, const std::string& where) {
  std::vector<int32_t> ids;
  if (json.empty()) return ids;
  const JsonDocument document(json, where);
  const auto value = json_member(document.root(), "eos_token_id");
  if (!value) return ids;
  if (!value->is_array()) return {checked_id(as_json_integer(*value, "eos_token_id"))};
  for (const auto id : as_json_array(*value, "eos_token_id")) {
    ids.push_back(checked_id(as_json_integer(id, "eos_token_id")));
  }
  return ids;
}

}  // namespace sluice
