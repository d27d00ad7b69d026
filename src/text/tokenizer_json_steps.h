// The pipeline that tokenizer.json describes beside its model: "normalizer", "pre_tokenizer",
// "post_processor", "decoder". Inside the directory only.
#pragma once

#include "text/tokenizer_json_value.h"
#include "text/tokenizer_parts.h"

namespace sluice {

// Whether the pipeline turns text into the byte-level alphabet, so that the vocabulary is written in it.
bool json_is_byte_level(const JsonObject& root);

// Fill the parts. Types that are not implemented throw kUnsupported with their name.
void add_json_normalizer(const JsonObject& step, int depth, Normalizer* normalizer);
void add_json_pretokenizer(const JsonObject& step, int depth, PreTokenizer* pretokenizer);
void add_json_postprocessor(const JsonObject& step, int depth, TokenizerParts* parts);
void add_json_decoder(const JsonObject& step, Decoding* decoding);

}  // namespace sluice
