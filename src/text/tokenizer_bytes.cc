#include "text/tokenizer_bytes.h"

#include <array>
#include <cstdint>

#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

constexpr uint32_t kAlphabetEnd = 0x144;  // one more than the largest character in use

constexpr bool stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 and up.
struct Alphabet {
  std::array<uint16_t, 256> character = {};
  std::array<int16_t, kAlphabetEnd> byte = {};

  constexpr Alphabet() {
    for (auto& b : byte) b = -1;
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; ++b) {
      const uint32_t c = stands_for_itself(b) ? b : next++;
      character[b] = static_cast<uint16_t>(c);
      byte[c] = static_cast<int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

void append_bytes_of_written(std::string_view written, std::string* bytes) {
  const size_t before = bytes->size();
  for (std::string_view rest = written; !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    if (step.state != Utf8State::kComplete || step.code_point >= kAlphabetEnd ||
        kAlphabet.byte[step.code_point] < 0) {
      bytes->resize(before);
      *bytes += written;
      return;
    }
    *bytes += static_cast<char>(kAlphabet.byte[step.code_point]);
    rest.remove_prefix(step.length);
  }
}

std::string written_of_bytes(std::string_view bytes) {
  std::string written;
  for (const char c : bytes) append_utf8(kAlphabet.character[static_cast<uint8_t>(c)], &written);
  return written;
}

}  // namespace sluice
