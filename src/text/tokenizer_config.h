// tokenizer_config.json and its companions: which tokens are BOS and EOS, whether they are added, and added
// tokens that stand nowhere else. Inside the directory only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_json_value.h"
#include "text/tokenizer_parts.h"

namespace sluice {

struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<std::string> bos, eos, pad, unk;
  std::optional<bool> add_bos, add_eos;
  std::vector<AddedToken> added;  // added_tokens_decoder
};

// `json` may be empty.
TokenizerConfig parse_tokenizer_config(std::string_view json);

// One of tokenizer.json's "added_tokens", or a value of added_tokens_decoder, with its id.
AddedToken parse_added_token(const JsonObject& object, int64_t id);

// Looks the named tokens up and puts BOS and EOS around texts as add_bos and add_eos say.
void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts* parts);

// The "eos_token_id" of generation_config.json or config.json: a number, a list or nothing.
std::vector<int32_t> parse_end_ids(std::string_view json, const std::string& where);

}  // namespace sluice
