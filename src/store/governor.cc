#include "store/governor.h"

#include <algorithm>
#include <utility>

#include "platform/clock.h"

namespace sluice {
namespace {

constexpr uint64_t kSteps = 8;              // from empty to full
constexpr double kShortestInterval = 0.01;  // seconds: a rate over less is noise
constexpr int kCalmFactor = 5;              // so much longer between looks where nothing is scarce
constexpr int kRetryMs = 5;                 // until slots that were leased can go as well
constexpr double kSmoothing = 0.04;         // seconds over which a rate is taken: one gulp is no stream
constexpr uint64_t kNoLimit = UINT64_MAX / 4;

}  // namespace

GovernorRule::GovernorRule(const GovernorOptions& options, uint64_t least, uint64_t full)
    : options_(options),
      least_(least),
      full_(full),
      step_(std::max<uint64_t>(full / kSteps, 1)),
      target_(full) {}

uint64_t GovernorRule::decide(double now_s, const Pressure& pressure, uint64_t fixed) {
  const auto left = static_cast<int64_t>(std::min(pressure.free, kNoLimit) + pressure.own);
  const int64_t room = left - static_cast<int64_t>(fixed + target_);
  if (!std::exchange(has_looked_, true)) {
    // Half of what the budget leaves is the others': a budget that was set close to a limit must not count as
    // pressure.
    reserve_ = std::clamp<int64_t>(room / 2, 0, static_cast<int64_t>(options_.max_reserve));
    last_left_ = left;
    last_look_s_ = last_pressure_s_ = now_s;
  }
  if (now_s - last_look_s_ >= kShortestInterval) {
    const double seconds = now_s - last_look_s_;
    const double fall = std::max(0.0, static_cast<double>(last_left_ - left) / seconds);
    fall_ += (fall - fall_) * std::min(1.0, seconds / kSmoothing);
    last_left_ = left;
    last_look_s_ = now_s;
  }
  // With an alarm the kernel is ahead of the counters.
  const int64_t reserve = pressure.alarm ? reserve_ + reserve_ / 2 : reserve_;
  const int64_t ahead = std::min(static_cast<int64_t>(fall_ * options_.horizon_s),
                                 2 * static_cast<int64_t>(options_.max_reserve));
  const int64_t need = reserve + ahead - room;
  is_scarce_ = room < 4 * static_cast<int64_t>(options_.max_reserve) + ahead;

  if (need > 0) {
    last_pressure_s_ = now_s;
    const uint64_t wanted = std::max(static_cast<uint64_t>(need), step_);
    target_ -= std::min(wanted, target_ - least_);
  } else if (target_ < full_ && now_s - last_pressure_s_ >= options_.quiet_s &&
             now_s - last_growth_s_ >= options_.grow_interval_s) {
    const uint64_t step = std::min(step_, full_ - target_);
    if (room - static_cast<int64_t>(step) >= reserve_ + reserve_ / 2) {
      target_ += step;
      last_growth_s_ = now_s;
    }
  }
  return target_;
}

Governor::Governor(const GovernorOptions& options, std::unique_ptr<PressureSource> source, Cache cache)
    : look_ms_(options.look_ms),
      source_(std::move(source)),
      cache_(std::move(cache)),
      rule_(options, cache_.least, cache_.full) {
  thread_ = std::thread([this] { watch(); });
}

Governor::~Governor() {
  stop_ = true;
  source_->wake();
  thread_.join();
}

Governor::Stats Governor::stats() const {
  return {shrinks_, grows_, given_back_bytes_, taken_again_bytes_, give_back_ns_, max_give_back_ns_};
}

void Governor::watch() {
  uint64_t size = cache_.full;
  bool is_giving = false;  // has not reached the target yet
  uint64_t sign_ns = 0;    // when this giving back began
  while (true) {
    const bool is_calm = !rule_.is_scarce() && !is_giving;
    const Pressure pressure = source_->look(is_giving ? kRetryMs
                                            : is_calm ? kCalmFactor * look_ms_
                                                      : look_ms_);
    if (stop_) return;
    const uint64_t now = monotonic_ns();
    const uint64_t before = rule_.target();
    const uint64_t target = rule_.decide(static_cast<double>(now) * 1e-9, pressure, cache_.fixed());
    if (target < before) {
      ++shrinks_;
      if (!std::exchange(is_giving, true)) sign_ns = now;
    } else if (target > before) {
      ++grows_;
    }
    const uint64_t after = cache_.resize(target);
    if (after < size) {
      given_back_bytes_ += size - after;
      give_back_ns_ += monotonic_ns() - now;
    } else {
      taken_again_bytes_ += after - size;
    }
    size = after;
    if (is_giving && size <= target) {
      is_giving = false;
      max_give_back_ns_ = std::max(max_give_back_ns_.load(), monotonic_ns() - sign_ns);
    }
  }
}

}  // namespace sluice
