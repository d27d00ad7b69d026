// How fast the store may read: a limit that the user sets, and one that a warm drive sets.
#pragma once

#include <cstdint>
#include <optional>

namespace sluice {

// A token bucket of 20 ms: exact over a second, and smooth within it. Reads may overdraw it by one, so that
// no size of read is impossible; what was overdrawn is waited for. No clock of its own.
class RateLimit {
 public:
  // 0: no limit.
  void set(uint64_t bytes_per_s);
  uint64_t bytes_per_s() const { return bytes_per_s_; }

  // Nanoseconds until the next read may begin; 0: now.
  uint64_t wait_ns(uint64_t now_ns);
  // A read has begun.
  void take(uint64_t bytes) {
    if (bytes_per_s_ > 0) tokens_ -= static_cast<double>(bytes);
  }

 private:
  uint64_t bytes_per_s_ = 0;
  double tokens_ = 0;  // bytes that may be read now
  uint64_t last_ns_ = 0;
};

// Slows reads down while a drive is too warm: half the rate at every look at which it is still above the
// limit; up again once it is `kCooler` below.
class ThermalRule {
 public:
  static constexpr double kCooler = 5;
  static constexpr uint64_t kSlowest = uint64_t{32} << 20;

  explicit ThermalRule(double max_celsius) : max_celsius_(max_celsius) {}
  // `measured`: bytes per second since the last look. Returns the limit, 0 for none.
  uint64_t look(std::optional<double> celsius, uint64_t measured);

 private:
  const double max_celsius_;
  uint64_t limit_ = 0;
  uint64_t unlimited_ = 0;  // what was read per second before the first limit
};

}  // namespace sluice
