#include "store/rate_limit.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr double kBucketSeconds = 0.02;

}  // namespace

void RateLimit::set(uint64_t bytes_per_s) {
  if (bytes_per_s_ == 0 || bytes_per_s == 0) tokens_ = 0;  // else what was overdrawn is still waited for
  bytes_per_s_ = bytes_per_s;
}

uint64_t RateLimit::wait_ns(uint64_t now_ns) {
  if (bytes_per_s_ == 0) return 0;
  const auto rate = static_cast<double>(bytes_per_s_);
  const double passed = last_ns_ == 0 ? 0 : static_cast<double>(now_ns - last_ns_) * 1e-9;
  last_ns_ = now_ns;
  tokens_ = std::min(tokens_ + passed * rate, kBucketSeconds * rate);
  return tokens_ >= 0 ? 0 : static_cast<uint64_t>(-tokens_ / rate * 1e9) + 1;
}

uint64_t ThermalRule::look(std::optional<double> celsius, uint64_t measured) {
  if (!celsius) return limit_;  // unreadable now: as before
  if (*celsius > max_celsius_) {
    if (limit_ == 0) unlimited_ = measured;
    limit_ = std::max((limit_ == 0 ? measured : limit_) / 2, kSlowest);
  } else if (limit_ > 0 && *celsius <= max_celsius_ - kCooler) {
    limit_ *= 2;
    if (limit_ >= unlimited_) limit_ = 0;
  }
  return limit_;
}

}  // namespace sluice
