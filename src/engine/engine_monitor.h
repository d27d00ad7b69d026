// What Engine::monitor() tells: the passes of late, noted by the engine's thread, and how a stretch of a
// timeline is divided. Others look at it while passes run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "platform/timeline.h"
#include "sluice/monitor.h"
#include "store/weight_store.h"

namespace sluice {

// Rows of passes so far, and their seconds.
struct PassTotals {
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

// The last passes. Thread-safe.
class PassLog {
 public:
  // A pass has ended; `stats` are the store's at that moment, `totals` with this pass.
  void add(int64_t n_prompt_tokens, int64_t n_decoded, double seconds, const StoreStats& stats,
           const PassTotals& totals);
  void tell(MonitorSnapshot& snapshot) const;  // passes and totals

 private:
  mutable std::mutex mutex_;
  std::deque<MonitorPass> passes_;
  uint64_t n_passes_ = 0;
  StoreStats last_;  // at the end of the last pass
  PassTotals totals_;
};

// What was done from begin_ns to end_ns, in `n` equal slices.
std::vector<MonitorSlice> slice_timeline(const Timeline& timeline, uint64_t begin_ns, uint64_t end_ns,
                                         size_t n);

}  // namespace sluice
