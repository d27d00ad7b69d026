#include "model/product_clock.h"

#include <algorithm>

#include "platform/clock.h"

namespace sluice {

void CalmSpeeds::learn(Operator op, uint64_t bytes, uint64_t ns) {
  Sum& sum = sums_[place(op, bytes)];
  const std::optional<double> expected = expect(op, bytes);
  const double counted =
      expected ? std::min(static_cast<double>(ns), kMostSlowdown * *expected) : static_cast<double>(ns);
  ++sum.calls;
  sum.ns += counted - sum.ns / kMemory;
  sum.bytes += static_cast<double>(bytes) - sum.bytes / kMemory;
}

std::optional<double> CalmSpeeds::expect(Operator op, uint64_t bytes) const {
  const Sum& sum = sums_[place(op, bytes)];
  if (sum.calls < kLeastCalls || sum.bytes <= 0) return std::nullopt;
  return sum.ns / sum.bytes * static_cast<double>(bytes);
}

void ProductClock::begin_pass(int64_t n) {
  is_running_ = store_.wants_measured_passes() && n <= kMaxRows;
  store_.begin_pass(is_running_);
  if (!is_running_) return;
  if (n != n_rows_) calm_speeds_.forget();
  n_rows_ = n;
  kernel_ns_ = calm_ns_ = 0;
}

void ProductClock::end_pass() {
  if (is_running_)
    store_.end_measured_pass(static_cast<uint64_t>(kernel_ns_), static_cast<uint64_t>(calm_ns_));
  is_running_ = false;
}

void ProductClock::begin_product() {
  reads_before_ = store_.reads_if_idle();
  begin_ns_ = monotonic_ns();
}

void ProductClock::end_product(Operator op, uint64_t bytes) {
  const uint64_t ns = monotonic_ns() - begin_ns_;
  if (const std::optional<double> calm = calm_speeds_.expect(op, bytes)) {
    kernel_ns_ += std::min(static_cast<double>(ns), CalmSpeeds::kMostSlowdown * *calm);
    calm_ns_ += *calm;
  }
  const bool is_calm = reads_before_ && store_.reads_if_idle() == reads_before_;
  if (is_calm) calm_speeds_.learn(op, bytes, ns);
}

}  // namespace sluice
