// Sizes from files are hostile: arithmetic on them goes through the checked functions here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice {

// a*b or a+b into *out; false on overflow, with *out unspecified.
[[nodiscard]] constexpr bool checked_mul(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}
[[nodiscard]] constexpr bool checked_add(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}

// `alignment` is a power of two. round_up may wrap for values near 2^64: check untrusted sizes first.
constexpr uint64_t round_down(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }
constexpr uint64_t round_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr uint64_t div_up(uint64_t value, uint64_t divisor) { return (value + divisor - 1) / divisor; }

inline constexpr size_t kPageBytes = 4096;  // unit of O_DIRECT offsets and lengths
inline constexpr size_t kCacheLineBytes = 64;

}  // namespace sluice
