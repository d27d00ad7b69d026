// What a running engine is doing, for whoever shows it: a screen in a terminal, a page in a browser. All of
// it was counted where it happened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

inline constexpr size_t kMonitorPasses = 512;  // that a snapshot tells of

// One pass over the weights, and what happened between the end of the pass before and its own end.
struct MonitorPass {
  uint64_t number = 0;                         // from 1 on
  int64_t n_prompt_tokens = 0, n_decoded = 0;  // rows of prompts, and rows that continue a text
  double seconds = 0, stall_seconds = 0;       // the second is part of the first: waited for weights
  uint64_t hits = 0, misses = 0, evictions = 0, bytes_read = 0;
};

// What moves as one: an expert, or a block of rows of a matrix.
struct MonitorPart {
  static constexpr uint32_t kNever = UINT32_MAX;
  uint32_t passes_since_use = kNever;  // 0: used by the pass that runs, or by the last one
  bool is_here = false;                // in memory, or on its way there
  bool was_missed = false;             // at its last use it was read from disk first
};

struct MonitorLayer {
  bool has_experts = false;
  std::vector<MonitorPart> parts;  // its experts by id, or the blocks of its matrices in order of access
  // Since load(). Bytes were asked for while it ran, whatever they are for.
  uint64_t hits = 0, misses = 0, bytes_read = 0;
  double seconds = 0, stall_seconds = 0;
  double begin_seconds = 0;  // in the last pass, from its beginning
};

// A slice of the last pass.
struct MonitorSlice {
  double computing = 0, waiting = 0;  // shares of its time
  double reads_in_flight = 0;         // mean; negative: there were more reads than are remembered
};

struct MonitorSnapshot {
  // memory, bytes
  uint64_t budget_bytes = 0, resident_bytes = 0, peak_resident_bytes = 0;
  uint64_t pinned_bytes = 0, cache_bytes = 0, ring_bytes = 0, kv_bytes = 0, scratch_bytes = 0;
  uint64_t streamed_bytes = 0;  // read from disk in every pass
  bool reads_past_page_cache = false;
  // since load()
  uint64_t bytes_read = 0, hits = 0, misses = 0, evictions = 0;
  uint64_t prefetched_bytes = 0, useful_prefetched_bytes = 0, wasted_bytes = 0;
  double stall_seconds = 0;
  uint64_t n_prompt_tokens = 0, n_decoded = 0;  // as EngineStats counts them
  double prompt_seconds = 0, decode_seconds = 0;

  int64_t layer = -1;               // that runs now; the number of layers for the head; -1: no pass runs
  std::vector<MonitorPass> passes;  // the last kMonitorPasses, the newest at the end
  std::vector<MonitorLayer> layers;
  double slices_seconds = 0;         // what the slices divide: the last pass
  std::vector<MonitorSlice> slices;  // as many as were asked for; none before the first pass

  const MonitorPass* last() const { return passes.empty() ? nullptr : &passes.back(); }
};

}  // namespace sluice
