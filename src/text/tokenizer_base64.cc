#include "text/tokenizer_base64.h"

#include <cstdint>

namespace sluice {

static int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool append_base64(std::string_view text, std::string* bytes) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return false;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    const int value = sextet(c);
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      *bytes += static_cast<char>(bits >> n_bits);
    }
  }
  return true;
}

}  // namespace sluice
