// SentencePiece's BPE: in GGUF ("llama") and tokenizer.model a score for each token, in tokenizer.json a list
// of merges. The two say the same where every pair of tokens that joins to a token is in the list, and all
// pairs of one token stand together (or are runs of one character, as check_tied() explains); anything else
// is refused. Not here: byte-level BPE (vocabulary.cc).
#pragma once

#include <string>
#include <string_view>

#include "compress/vocabulary_json.h"
#include "format/gguf.h"
#include "text/tokenizer.h"

namespace sluice {

// Whether a tokenizer.json is of this kind: BPE with byte fallback.
bool is_spm_json(const ReadJson& json);

// Add tokenizer.ggml.model, pre, tokens, scores, token_type and how blanks are treated. `tokenizer` is the
// same vocabulary as loaded. Error(kUnsupported) that names what GGUF cannot express.
void add_spm_json(GgufWriter& writer, const ReadJson& json, const Tokenizer& tokenizer, int64_t n_tokens,
                  const std::string& where);
void add_spm_model(GgufWriter& writer, std::string_view bytes, const Tokenizer& tokenizer, int64_t n_tokens,
                   const std::string& where);

// tokenizer.json of a GGUF vocabulary "llama". Error(kUnsupported) that names what it cannot express.
Json spm_tokenizer_json(const GgufVocabulary& v, const Tokenizer& tokenizer, const std::string& where);

}  // namespace sluice
