#include "model/predictor/prefetch_trial.h"

#include <cmath>

namespace sluice {

// By kLeastGain, and by three standard errors of the difference. Both arms' deviations are taken together:
// the few passes of a young one would often look too much alike.
bool PrefetchTrial::other_is_faster() const noexcept {
  const Arm& now = arms_[is_on_];
  const Arm& other = arms_[!is_on_];
  if (other.n_passes < 2 * kTrialPasses) return false;
  const double n = now.weight(), m = other.weight();
  const double variance = (n * now.variance + m * other.variance) / (n + m - 2) * (1 / n + 1 / m);
  const double gain = now.mean - other.mean;
  return gain > kLeastGain * now.mean && gain > 3 * std::sqrt(variance);
}

void PrefetchTrial::add_pass(double seconds) {
  Arm& arm = arms_[is_on()];
  ++arm.n_passes;
  const double rate = 1 / arm.weight(), difference = seconds - arm.mean;
  arm.mean += rate * difference;
  arm.variance += rate * (difference * (seconds - arm.mean) - arm.variance);
  if (--n_left_ > 0) return;
  if (!is_trial_) {
    is_trial_ = true;
    n_left_ = kTrialPasses;
    return;
  }
  is_trial_ = false;
  if (other_is_faster()) {
    is_on_ = !is_on_;
    pause_ = kFirstPause;
  } else {
    pause_ = std::min(2 * pause_, kLongestPause);
  }
  n_left_ = pause_;
}

}  // namespace sluice
