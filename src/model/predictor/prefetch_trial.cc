#include "model/predictor/prefetch_trial.h"

namespace sluice {

void PrefetchTrial::add_pass(double seconds) {
  ++passes_[is_on_];
  block_seconds_ += seconds;
  if (++n_in_block_ < kBlockPasses) return;
  double& mean = mean_[is_on_];
  mean = mean == 0 ? block_seconds_ : mean + 0.3 * (block_seconds_ - mean);
  n_in_block_ = 0;
  block_seconds_ = 0;
  ++n_blocks_;
  const bool pays = mean_[1] > 0 && mean_[1] < (1 - kLeastGain) * mean_[0];
  const bool is_trial = n_blocks_ >= kTrialBlocks && n_blocks_ % kBlocksPerTrial == 0;
  is_on_ = n_blocks_ < kTrialBlocks ? n_blocks_ % 2 == 1 : pays != is_trial;
}

}  // namespace sluice
