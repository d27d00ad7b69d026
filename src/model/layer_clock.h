// When the layers of a pass ran, how long they waited for weights and what was read meanwhile: counted by the
// thread that computes, looked at by any other.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "store/weight_store.h"

namespace sluice {

struct LayerTime {
  uint64_t begin_ns = 0;                          // of the last pass that ended
  uint64_t ns = 0, stall_ns = 0, bytes_read = 0;  // of all passes that ended
};

struct LayerTimes {
  uint64_t begin_ns = 0, end_ns = 0;  // of the last pass that ended; 0 before the first one
  std::vector<LayerTime> layers;      // [n_layers]
};

class LayerClock {
 public:
  LayerClock(const WeightStore& store, int64_t n_layers);

  // One pass. Without a clock it does nothing.
  class Pass {
   public:
    explicit Pass(LayerClock* clock);
    ~Pass();  // a pass that an error ended is not counted
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

    void begin_layer(int64_t layer) {  // n_layers for what comes after the last one
      if (clock_ != nullptr) clock_->begin_layer(layer);
    }
    void end();

   private:
    LayerClock* clock_;
  };

  int64_t layer() const noexcept { return layer_.load(std::memory_order_relaxed); }  // -1: no pass runs
  LayerTimes times() const;

 private:
  void begin_layer(int64_t layer);

  const WeightStore& store_;
  // The computing thread's: the pass that runs.
  std::vector<LayerTime> running_;  // [n_layers]
  uint64_t pass_begin_ns_ = 0, begin_ns_ = 0, begin_stall_ns_ = 0, begin_bytes_ = 0;
  std::atomic<int64_t> layer_ = -1;

  mutable std::mutex mutex_;
  LayerTimes ended_;
};

}  // namespace sluice
