// How fast the machine could be at a test. The limit of a pass is
//
//   max(bytes that must come from the SSD / its bandwidth, bytes that must be read from memory / its
//       bandwidth, operations / peak)
//
// What must come from the SSD follows from the budget: dense weights that do not fit, and the experts that
// even the best possible eviction (Belady's, on the routes that were really taken) would have had to read
// again. What must come from memory are the dense weights, the experts that the steps really touched, each
// once per step, and the keys and values that are looked at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cli/bench_measure.h"
#include "plan/peaks.h"
#include "sluice/engine.h"

namespace sluice {

struct Peaks {
  std::vector<ReadPeak> reads;
  double disk = 0;  // bytes/s; 0: not measured
  ArithmeticPeaks arithmetic;

  double memory() const;  // bytes/s, the best of `reads`
};

// Of one step of decoding, or of a whole prompt.
struct Work {
  double weight_bytes = 0;  // read from memory
  double kv_bytes = 0;
  double disk_bytes = 0;  // that the budget forces to be read from the SSD
  double int8_operations = 0;
  double float_operations = 0;   // of float encodings, and of attention
  double experts_per_layer = 0;  // distinct ones in a step; 0 for dense models

  double memory_bytes() const { return weight_bytes + kv_bytes; }
  double operations() const { return int8_operations + float_operations; }
};

// `weight_room`: bytes of weights that the budget holds. `f32_activations`: every product is one of floats.
Work work_of(const ModelInfo& info, const Measured& measured, uint64_t weight_room, bool f32_activations);

struct Limit {
  double disk_s = 0, memory_s = 0, compute_s = 0;

  double seconds() const { return std::max({disk_s, memory_s, compute_s}); }
  const char* bound() const;  // "ssd", "memory", "compute"
};

// Floats are held against the better of the f32 and the bf16 peak.
Limit limit_of(const Work& work, const Peaks& peaks);

}  // namespace sluice
