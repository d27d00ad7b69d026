// Shorthand for throwing sluice::Error with a formatted message.
#pragma once

#include <string>
#include <string_view>

#include "sluice/error.h"

namespace sluice {

// throw_error(ErrorKind::kCorrupt, "%s: tensor %s ends at %" PRIu64 ", ...", ...). Never returns.
[[noreturn, gnu::format(printf, 2, 3)]] void throw_error(ErrorKind kind, const char* format, ...);

// Throws kIo (kNotFound for ENOENT, kNoMemory for ENOMEM) with "<what> <path>: <strerror>".
[[noreturn]] void throw_errno(int error_number, const char* what, const std::string& path);

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format_string(const char* format, ...);

// A name or value from an untrusted file, made fit for one line of a terminal: control bytes and invalid
// UTF-8 are escaped, and anything over `max_bytes` is cut and marked with "...".
std::string printable(std::string_view text, size_t max_bytes = 120);

}  // namespace sluice
