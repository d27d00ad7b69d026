// How everything below the parser reports that a template went wrong, and the bound on texts that it makes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::jinja {

// `kTemplate` carries the words of raise_exception; the others are the engine's.
struct Failure {
  enum class Kind { kRuntime, kTemplate, kUnsupported };
  std::string message;
  Kind kind = Kind::kRuntime;
};

[[noreturn]] inline void fail(std::string message) { throw Failure{std::move(message)}; }

inline constexpr uint64_t kMaxTextBytes = uint64_t{16} << 20;

// Called before a text of that size is made.
inline void check_text_size(uint64_t bytes) {
  if (bytes > kMaxTextBytes) fail("text larger than 16 MiB");
}

// Appends, within the bound.
inline void append_bounded(std::string& out, std::string_view text) {
  check_text_size(out.size() + text.size());
  out += text;
}

}  // namespace sluice::jinja
