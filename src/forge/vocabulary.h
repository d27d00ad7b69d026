// A made-up vocabulary of any size, so that forged models can read and write text: bytes, then syllables.
#pragma once

#include <cstdint>
#include <string>

#include "format/gguf.h"

namespace sluice {

// SentencePiece-style keys of a GGUF file.
void add_vocabulary(GgufWriter& writer, int64_t size);

// The same as a tokenizer.json.
std::string vocabulary_json(int64_t size);

}  // namespace sluice
