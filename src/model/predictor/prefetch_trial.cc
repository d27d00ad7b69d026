#include "model/predictor/prefetch_trial.h"

namespace sluice {

// The least that is read ahead without being slower than what reads more.
PrefetchWidth PrefetchTrial::fastest() const noexcept {
  size_t best = 0;
  for (size_t w = 1; w < kPrefetchWidths; ++w)
    if (mean_[w] < (1 - kLeastGain) * mean_[best]) best = w;
  return static_cast<PrefetchWidth>(best);
}

void PrefetchTrial::add_pass(double seconds) {
  const auto width = static_cast<size_t>(width_);
  ++passes_[width];
  block_seconds_ += seconds;
  if (++n_in_block_ < kBlockPasses) return;
  double& mean = mean_[width];
  mean = mean == 0 ? block_seconds_ : mean + 0.3 * (block_seconds_ - mean);
  n_in_block_ = 0;
  block_seconds_ = 0;
  ++n_blocks_;
  if (n_blocks_ < kTrialBlocks) {
    width_ = static_cast<PrefetchWidth>((width + 1) % kPrefetchWidths);
    return;
  }
  width_ = fastest();
  if (n_blocks_ % kBlocksPerTrial != 0) return;
  const size_t step = 1 + static_cast<size_t>(n_trials_++ % 2);
  width_ = static_cast<PrefetchWidth>((static_cast<size_t>(width_) + step) % kPrefetchWidths);
}

}  // namespace sluice
