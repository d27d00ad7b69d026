// From the bytes of a terminal in raw mode to keys.
#pragma once

#include <functional>
#include <string>

namespace sluice {

enum class KeyKind {
  kText,  // one character, or all of a bracketed paste
  kEnter,
  kBackspace,
  kDelete,
  kLeft,
  kRight,
  kUp,
  kDown,
  kWordLeft,
  kWordRight,
  kHome,
  kEnd,
  kKillToEnd,
  kKillToStart,
  kKillWord,
  kClearScreen,
  kInterrupt,   // Ctrl-C
  kEndOfInput,  // Ctrl-D, or the terminal is gone
  kOther,       // understood and without meaning
};

struct Key {
  KeyKind kind = KeyKind::kOther;
  std::string text = {};
};

// The next byte, or -1 at the end of input. With `patient` false only a byte that comes at once: that tells
// an escape sequence from the Escape key.
using ByteSource = std::function<int(bool patient)>;

// Reads one key; whole UTF-8 characters and whole pastes (ESC [200~ ... ESC [201~).
Key read_key(const ByteSource& next);

}  // namespace sluice
