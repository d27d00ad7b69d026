#include "cli/keys.h"

#include <string_view>
#include <utility>

namespace sluice {
namespace {

constexpr char kEscape = '\x1b';
constexpr size_t kMaxPaste = size_t{16} << 20;

// After ESC [200~: all up to ESC [201~.
std::string read_paste(const ByteSource& next) {
  constexpr std::string_view kEnd = "\x1b[201~";
  std::string text;
  int previous = 0;
  for (int byte = next(true); byte >= 0; previous = std::exchange(byte, next(true))) {
    if (byte == '\n' && previous == '\r') continue;  // one line break, not two
    if (text.size() < kMaxPaste) text += byte == '\r' ? '\n' : static_cast<char>(byte);
    if (text.size() >= kEnd.size() && text.compare(text.size() - kEnd.size(), kEnd.size(), kEnd) == 0) {
      text.resize(text.size() - kEnd.size());
      break;
    }
  }
  return text;
}

KeyKind letter_key(char final) {
  switch (final) {
    case 'A':
      return KeyKind::kUp;
    case 'B':
      return KeyKind::kDown;
    case 'C':
      return KeyKind::kRight;
    case 'D':
      return KeyKind::kLeft;
    case 'F':
      return KeyKind::kEnd;
    case 'H':
      return KeyKind::kHome;
    default:
      return KeyKind::kOther;
  }
}

// After ESC [: parameters, then one final byte.
Key read_control_sequence(const ByteSource& next) {
  std::string parameters;
  int byte = next(false);
  while (byte >= 0x20 && byte < 0x40 && parameters.size() < 32) {
    parameters += static_cast<char>(byte);
    byte = next(false);
  }
  const bool with_modifier = parameters.find(';') != std::string::npos;  // Ctrl or Alt held
  if (byte == 'C' && with_modifier) return {KeyKind::kWordRight};
  if (byte == 'D' && with_modifier) return {KeyKind::kWordLeft};
  if (byte != '~') return {byte < 0 ? KeyKind::kOther : letter_key(static_cast<char>(byte))};
  if (parameters == "200") return {KeyKind::kText, read_paste(next)};
  if (parameters == "1" || parameters == "7") return {KeyKind::kHome};
  if (parameters == "4" || parameters == "8") return {KeyKind::kEnd};
  if (parameters == "3") return {KeyKind::kDelete};
  return {KeyKind::kOther};
}

Key read_escape(const ByteSource& next) {
  const int byte = next(false);
  switch (byte) {
    case '[':
      return read_control_sequence(next);
    case 'O': {  // the same keys in application mode
      const int final = next(false);
      return {final < 0 ? KeyKind::kOther : letter_key(static_cast<char>(final))};
    }
    case 'b':
      return {KeyKind::kWordLeft};
    case 'f':
      return {KeyKind::kWordRight};
    case 0x7f:
      return {KeyKind::kKillWord};
    case '\r':
    case '\n':
      return {KeyKind::kText, "\n"};  // Alt-Enter
    default:
      return {KeyKind::kOther};
  }
}

size_t utf8_length(unsigned char lead) {
  if (lead >= 0xf0) return 4;
  if (lead >= 0xe0) return 3;
  return lead >= 0xc0 ? 2 : 1;
}

}  // namespace

Key read_key(const ByteSource& next) {
  const int byte = next(true);
  switch (byte) {
    case -1:
    case 0x04:
      return {KeyKind::kEndOfInput};
    case 0x01:
      return {KeyKind::kHome};
    case 0x02:
      return {KeyKind::kLeft};
    case 0x03:
      return {KeyKind::kInterrupt};
    case 0x05:
      return {KeyKind::kEnd};
    case 0x06:
      return {KeyKind::kRight};
    case 0x08:
    case 0x7f:
      return {KeyKind::kBackspace};
    case '\r':
    case '\n':
      return {KeyKind::kEnter};
    case 0x0b:
      return {KeyKind::kKillToEnd};
    case 0x0c:
      return {KeyKind::kClearScreen};
    case 0x0e:
      return {KeyKind::kDown};
    case 0x10:
      return {KeyKind::kUp};
    case 0x15:
      return {KeyKind::kKillToStart};
    case 0x17:
      return {KeyKind::kKillWord};
    case kEscape:
      return read_escape(next);
    default:
      break;
  }
  if (byte < 0x20 && byte != '\t') return {KeyKind::kOther};
  std::string text(1, static_cast<char>(byte));
  const size_t length = utf8_length(static_cast<unsigned char>(byte));
  while (text.size() < length) {
    const int more = next(true);
    if (more < 0) break;
    text += static_cast<char>(more);
  }
  return {KeyKind::kText, text};
}

}  // namespace sluice
