// How far prefetching pays, found out by trying: passes run in blocks, each of which reads ahead nothing, the
// likeliest missing expert of a layer or all that are likely, and the fastest way goes on. The others are
// tried again now and then, since disks and texts change.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice {

enum class PrefetchWidth : uint8_t { kNone, kOne, kAll };
inline constexpr size_t kPrefetchWidths = 3;

class PrefetchTrial {
 public:
  PrefetchWidth width() const noexcept { return width_; }
  // One pass has taken that long, under width().
  void add_pass(double seconds);

  uint64_t passes(PrefetchWidth width) const noexcept { return passes_[static_cast<size_t>(width)]; }

  static constexpr int kBlockPasses = 8;
  static constexpr int kTrialBlocks = 6;      // at the start, in turns
  static constexpr int kBlocksPerTrial = 16;  // from then on, one of them is another way, the two in turns
  static constexpr double kLeastGain = 0.02;  // of the time of a pass, for more reads to be worth it

 private:
  PrefetchWidth fastest() const noexcept;

  PrefetchWidth width_ = PrefetchWidth::kAll;
  int n_in_block_ = 0;
  int n_blocks_ = 0;
  int n_trials_ = 0;
  double block_seconds_ = 0;
  std::array<double, kPrefetchWidths> mean_{};  // seconds of a block, fading; 0: never tried
  std::array<uint64_t, kPrefetchWidths> passes_{};
};

}  // namespace sluice
