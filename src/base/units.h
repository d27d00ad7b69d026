// Byte sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

inline constexpr uint64_t kKiB = uint64_t{1} << 10, kMiB = kKiB << 10, kGiB = kMiB << 10;

// "6G", "512M", "1.5GiB", "100000", "64k" → bytes (K, M, G, T are powers of 1024, with or without "B" or
// "iB"). Throws Error(kInvalid) that names `what` (e.g. "--ram") on anything else, negatives and overflow.
uint64_t parse_bytes(std::string_view text, std::string_view what);

// As parse_bytes, and also "40%" of `whole` (0 < percentage <= 100).
uint64_t parse_bytes_or_percent(std::string_view text, uint64_t whole, std::string_view what);

// "1.50 GiB", "812 MiB", "17 B": three significant digits.
std::string format_bytes(uint64_t bytes);

// "12.3 s", "4.5 ms", "1 min 20 s".
std::string format_seconds(double seconds);

}  // namespace sluice
