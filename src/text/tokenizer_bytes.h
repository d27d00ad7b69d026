// The byte-level alphabet of GPT-2: vocabularies are written in JSON, so each byte stands there as one
// printable character (a blank as U+0120, "Ġ"). Inside, tokenizers keep the bytes themselves.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Appends the bytes that `written` stands for; `written` itself when it has a character outside the alphabet,
// as added tokens may.
void append_bytes_of_written(std::string_view written, std::string* bytes);

// How a byte-level vocabulary writes `bytes`.
std::string written_of_bytes(std::string_view bytes);

}  // namespace sluice
