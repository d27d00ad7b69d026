// The loaders short of finish_parts(), so that a directory can add what its other files say. Inside the
// directory only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer_config.h"
#include "text/tokenizer_parts.h"

namespace sluice {

std::unique_ptr<TokenizerParts> make_json_parts(std::string_view json, const TokenizerConfig& config,
                                                const std::string& where);
std::unique_ptr<TokenizerParts> make_sentencepiece_parts(std::string_view bytes, const std::string& where);
std::unique_ptr<TokenizerParts> make_tiktoken_parts(std::string_view bytes, std::string_view pattern,
                                                    const std::map<std::string, int32_t>& specials,
                                                    const std::string& where);
std::unique_ptr<TokenizerParts> make_vocab_merges_parts(std::string_view vocab_json,
                                                        std::string_view merges_txt, std::string_view pattern,
                                                        std::string_view added_tokens_json,
                                                        const TokenizerConfig& config,
                                                        const std::string& where);

// Meta ships rank files under SentencePiece's name, tokenizer.model. Whether the first line is
// "<base64> <number>".
bool looks_like_rank_file(std::string_view bytes);

// Such a file with the pattern and the control tokens of Llama 3 or Llama 4, told apart by their sizes.
std::unique_ptr<TokenizerParts> make_llama_tiktoken_parts(std::string_view bytes, const std::string& where);

}  // namespace sluice
