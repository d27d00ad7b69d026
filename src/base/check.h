// SLUICE_CHECK: bugs abort, in every build, with file, line and values. Errors of the world throw instead
// (sluice/error.h).
#pragma once

namespace sluice {

// Prints "file:line: check failed: expression" with an optional printf-style detail, then aborts.
[[noreturn, gnu::format(printf, 4, 5)]] void check_failed(const char* file, int line, const char* expression,
                                                          const char* format, ...);

}  // namespace sluice

// SLUICE_CHECK(n > 0) or SLUICE_CHECK(n > 0, "n = %d", n)
#define SLUICE_CHECK(condition, ...)                                           \
  do {                                                                         \
    if (__builtin_expect(!(condition), 0))                                     \
      ::sluice::check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
  } while (0)

#ifdef SLUICE_DEBUG
#define SLUICE_DCHECK(...) SLUICE_CHECK(__VA_ARGS__)
#else
#define SLUICE_DCHECK(...) \
  do {                     \
  } while (0)
#endif
