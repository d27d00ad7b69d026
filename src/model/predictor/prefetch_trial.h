// Whether prefetching pays, found out by trying: passes run in blocks, some with and some without, and the
// faster way goes on. The other is tried again now and then, since disks and texts change.
#pragma once

#include <cstdint>

namespace sluice {

class PrefetchTrial {
 public:
  bool is_on() const noexcept { return is_on_; }
  // One pass has taken that long, under is_on().
  void add_pass(double seconds);

  uint64_t passes_on() const noexcept { return passes_[1]; }
  uint64_t passes_off() const noexcept { return passes_[0]; }

  static constexpr int kBlockPasses = 8;
  static constexpr int kTrialBlocks = 6;      // at the start, in turns
  static constexpr int kBlocksPerTrial = 16;  // from then on, one of them is the other way
  static constexpr double kLeastGain = 0.02;  // of the time of a pass, for prefetching to be worth its reads

 private:
  bool is_on_ = false;
  int n_in_block_ = 0;
  int n_blocks_ = 0;
  double block_seconds_ = 0;
  double mean_[2] = {0, 0};  // seconds of a block, fading; off, on
  uint64_t passes_[2] = {0, 0};
};

}  // namespace sluice
