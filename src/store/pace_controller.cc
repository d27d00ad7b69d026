#include "store/pace_controller.h"

#include <algorithm>

namespace sluice {
namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

// Of the bytes, what nobody waited for yet.
double unawaited_share(const PaceSample& sample) {
  const auto unawaited = static_cast<double>(sample.unawaited_bytes);
  return ratio(unawaited, unawaited + static_cast<double>(sample.awaited_bytes));
}

}  // namespace

uint64_t PaceController::add(const PaceSample& sample) {
  const auto kernel = static_cast<double>(sample.kernel_ns), calm = static_cast<double>(sample.calm_ns);
  kernel_ns_ += kernel;
  calm_ns_ += calm;
  own_ns_ += (kernel - calm) * unawaited_share(sample);
  window_.elapsed_ns += sample.elapsed_ns;
  window_.stall_ns += sample.stall_ns;
  window_.kernel_ns += sample.kernel_ns;
  window_.calm_ns += sample.calm_ns;
  window_.awaited_bytes += sample.awaited_bytes;
  window_.unawaited_bytes += sample.unawaited_bytes;
  if (window_.elapsed_ns >= kWindowNs) judge();
  return limit_;
}

void PaceController::judge() {
  const auto elapsed = static_cast<double>(window_.elapsed_ns);
  const auto stall = static_cast<double>(window_.stall_ns);
  const auto kernel = static_cast<double>(window_.kernel_ns);
  const auto calm = static_cast<double>(window_.calm_ns);
  const double share = unawaited_share(window_);
  const double rate = ratio(static_cast<double>(window_.unawaited_bytes), elapsed * 1e-9);
  window_ = {};

  const double lost = std::max(kernel - calm, 0.0);
  const double slowdown = ratio(lost * share, kernel);
  const double price = ratio(stall + lost, elapsed - stall - lost);
  ++report_.windows;

  if (limit_ == 0) {
    const bool is_io_bound = stall > lost * share;
    report_.io_bound_windows += is_io_bound;
    open_price_ = open_price_ < 0 ? price : open_price_ + kFade * (price - open_price_);
    if (rest_ > 0) {
      --rest_;
    } else if (!is_io_bound && slowdown > tolerated_) {
      open_rate_ = rate;
      limited_price_ = open_price_;
      held_ = 0;
      fall(rate, slowdown);
    }
    return;
  }

  ++report_.limited_windows;
  limited_price_ += kFade * (price - limited_price_);
  if (limited_price_ > open_price_ + kMargin) {
    ++report_.failures;
    limit_ = 0;
    rest_ = next_rest_;
    next_rest_ = std::min(2 * next_rest_, kMostRest);
    return;
  }
  if (++held_ >= kLeastRest) next_rest_ = kLeastRest;
  if (slowdown > tolerated_) {
    fall(std::min(rate, static_cast<double>(limit_)), slowdown);
  } else if (slowdown < kLow * tolerated_) {
    const double risen = kRise * static_cast<double>(limit_);
    limit_ = risen < open_rate_ ? static_cast<uint64_t>(risen) : 0;
  }
}

void PaceController::fall(double rate, double slowdown) {
  const double step = std::max(tolerated_ / slowdown, kMostFall);
  limit_ = std::max(static_cast<uint64_t>(rate * step), kSlowest);
}

PaceReport PaceController::report() const {
  PaceReport report = report_;
  report.tolerated = tolerated_;
  report.limit = limit_;
  report.kernel_ns = static_cast<uint64_t>(kernel_ns_);
  report.lost = ratio(std::max(kernel_ns_ - calm_ns_, 0.0), kernel_ns_);
  report.slowdown = std::clamp(ratio(own_ns_, kernel_ns_), 0.0, report.lost);
  return report;
}

}  // namespace sluice
