#include "base/error.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace sluice {
namespace {

std::string vformat(const char* format, va_list args) {
  va_list copy;
  va_copy(copy, args);
  const int n = std::vsnprintf(nullptr, 0, format, copy);
  va_end(copy);
  std::string text(n > 0 ? static_cast<size_t>(n) : 0, '\0');
  if (n > 0) std::vsnprintf(text.data(), text.size() + 1, format, args);
  return text;
}

// Length of the valid UTF-8 sequence at `p` (1..4), 0 if there is none.
size_t utf8_sequence(const unsigned char* p, size_t n) {
  if (p[0] < 0x80) return 1;
  const size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
  if (length == 0 || length > n || p[0] > 0xf4) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((p[i] & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

const char* error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNotFound:
      return "not found";
    case ErrorKind::kCorrupt:
      return "corrupt";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kInvalid:
      return "invalid";
    case ErrorKind::kIo:
      return "input/output";
    case ErrorKind::kNoMemory:
      return "no memory";
    case ErrorKind::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

void throw_error(ErrorKind kind, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string message = vformat(format, args);
  va_end(args);
  throw Error(kind, message);
}

void throw_errno(int error_number, const char* what, const std::string& path) {
  const ErrorKind kind = error_number == ENOENT   ? ErrorKind::kNotFound
                         : error_number == ENOMEM ? ErrorKind::kNoMemory
                                                  : ErrorKind::kIo;
  const char* const shown = path.empty() ? "an empty file name" : path.c_str();
  throw Error(kind, format_string("%s %s: %s", what, shown, std::strerror(error_number)));
}

std::string format_string(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string text = vformat(format, args);
  va_end(args);
  return text;
}

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out;
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    if (out.size() >= max_bytes) return out + "...";
    const size_t n = utf8_sequence(p + i, text.size() - i);
    if (n == 0 || (n == 1 && (p[i] < 0x20 || p[i] == 0x7f))) {
      out += format_string("\\x%02x", p[i]);
      ++i;
    } else {
      out.append(text.substr(i, n));
      i += n;
    }
  }
  return out;
}

}  // namespace sluice
