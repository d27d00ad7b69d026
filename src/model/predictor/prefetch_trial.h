// Whether prefetching pays, found out by trying: most passes run as is thought to be faster, and now and then
// two run the other way. The mind is changed when the other is faster beyond doubt, so that one slow pass
// does not decide; trials become rarer as they go on, but never cease, since disks and texts change.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace sluice {

class PrefetchTrial {
 public:
  bool is_on() const noexcept { return is_on_ != is_trial_; }
  // One pass has taken that long, prefetching if is_on().
  void add_pass(double seconds);

  uint64_t passes(bool on) const noexcept { return arms_[on].n_passes; }

  static constexpr uint64_t kTrialPasses = 2;
  static constexpr uint64_t kFirstPause = 8;  // passes between trials; doubled after each
  static constexpr uint64_t kLongestPause = 64;
  static constexpr uint64_t kMemory = 64;     // passes; older ones fade
  static constexpr double kLeastGain = 0.02;  // of the time of a pass, for the mind to be changed

 private:
  struct Arm {
    uint64_t n_passes = 0;
    double mean = 0, variance = 0;  // of their seconds
    double weight() const noexcept { return static_cast<double>(std::min(n_passes, kMemory)); }
  };
  bool other_is_faster() const noexcept;

  std::array<Arm, 2> arms_;  // off, on
  bool is_on_ = true;        // what is thought to be faster
  bool is_trial_ = false;
  uint64_t pause_ = kFirstPause;
  uint64_t n_left_ = kFirstPause;  // passes, until a trial begins or ends
};

}  // namespace sluice
