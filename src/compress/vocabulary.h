// Vocabularies from one family's words into the other's: tokenizer.json (or tokenizer.model) and
// tokenizer_config.json, and tokenizer.ggml.* of GGUF files. Byte-level BPE, and SentencePiece's BPE.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/checkpoint.h"
#include "format/gguf.h"

namespace sluice {

// Adds tokenizer.ggml.* and tokenizer.chat_template from the text files of a Hugging Face directory; nothing
// if there is no tokenizer. `n_tokens` is the number of embedding rows: the list is filled up with unused
// tokens. Error(kUnsupported) that names what GGUF cannot express.
void add_gguf_vocabulary(GgufWriter& writer, const Checkpoint& source, int64_t n_tokens);

struct HfVocabulary {
  std::string tokenizer_json, tokenizer_config_json;
  std::optional<int64_t> bos, eos;  // for config.json
};

// nullopt if the GGUF file has no tokenizer. Error(kUnsupported) that names what tokenizer.json cannot
// express.
std::optional<HfVocabulary> hf_vocabulary(const Checkpoint& source);

}  // namespace sluice
