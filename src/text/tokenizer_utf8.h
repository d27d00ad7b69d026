// UTF-8 as the tokenizers need it: step over characters, replace what is invalid, know what is incomplete.
// Unicode properties are utf8proc's and PCRE2's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD
inline constexpr std::string_view kSpaceMarker = "\xE2\x96\x81";           // U+2581, SentencePiece's blank

enum class Utf8State : uint8_t {
  kComplete,    // `length` bytes are one character
  kIncomplete,  // the text ends inside a character that began well; `length` bytes are left
  kInvalid,     // `length` bytes belong to no character: replaced by one U+FFFD
};

struct Utf8Step {
  Utf8State state;
  uint32_t length;  // at least 1
  uint32_t code_point;
};

// The character at the start of `text`, which must not be empty. Invalid runs are cut into maximal subparts
// as the Unicode standard recommends (chapter 3.9), so that replacement agrees with other decoders.
Utf8Step utf8_step(std::string_view text) noexcept;

// Length of the character that begins with `first`. Precondition: valid UTF-8.
inline uint32_t utf8_length(char first) noexcept {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

bool is_ascii(std::string_view text) noexcept;
bool is_valid_utf8(std::string_view text) noexcept;

// Every invalid part becomes U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

void append_utf8(uint32_t code_point, std::string* out);

// What Unicode calls White_Space.
bool is_unicode_space(uint32_t code_point) noexcept;

// Letters, marks, digits and connectors: what regexes call \w.
bool is_word_character(uint32_t code_point) noexcept;

}  // namespace sluice
