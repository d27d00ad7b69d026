// The store's slots without bytes, reads or time: which accesses hit under a policy. Slots are given out by
// the rules of SlotCache, by the same policy objects, so that the counts are those of the engine (prefetch
// off); tests/residency holds the two together. SlotCache's own rules are woven into who still reads and who
// waits, of which there is nothing here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "store/cache_policy.h"
#include "store/trace.h"

namespace sluice {

class CacheSimulator {
 public:
  // `groups`: of the units, as in CacheGeometry. Units n * n_parts to n * n_parts + n_parts - 1 are parts
  // that are acquired together (UnitSpec::n_parts). n_slots >= n_parts.
  CacheSimulator(std::vector<uint32_t> groups, size_t n_slots, std::unique_ptr<CachePolicy> policy,
                 uint32_t n_parts = 1);

  // As WeightStore with StoreOptions::unit_rates, [n_units]: before the first acquire().
  void warm(std::span<const float> rates);

  // One lease of distinct units, released before the next. Returns how many of them missed.
  uint64_t acquire(std::span<const UnitId> units);

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }
  uint64_t evictions() const { return evictions_; }

 private:
  static constexpr UnitId kEmpty = UINT32_MAX;
  static constexpr size_t kNowhere = SIZE_MAX;

  struct Slot {
    UnitId unit = kEmpty;
    bool is_kept = false;    // a hit of this acquire() that is not leased yet
    bool is_leased = false;  // by this acquire()
  };

  void keep(UnitId unit);
  void lease(UnitId unit);
  size_t move_in(UnitId unit);
  size_t choose_slot(UnitId unit);

  std::vector<uint32_t> groups_;  // [n_units]
  std::unique_ptr<CachePolicy> policy_;
  uint32_t n_parts_;
  std::vector<Slot> slots_;
  std::vector<size_t> where_;  // [n_units] slot, or kNowhere
  size_t n_taken_ = 0;         // slots that ever held something: the first ones
  size_t n_busy_ = 0;          // kept or leased
  size_t n_kept_ = 0;
  size_t max_kept_ = 0;
  uint64_t hits_ = 0, misses_ = 0, evictions_ = 0;
};

// What a trace's passes came to.
struct CacheCounts {
  uint64_t hits = 0, misses = 0;
  std::vector<uint32_t> misses_of;  // [n_passes, n_groups of the trace]

  double hit_rate() const {
    return hits + misses > 0 ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
  }
};

// From an empty cache, or from one that a profile has warmed: `rates` are [n_groups, n_units of each] of the
// trace (TaskProfile::rates()), or empty. The trace's units are cached in `n_parts` equal parts, of which
// hits and misses are counted. n_slots >= n_parts.
CacheCounts simulate_cache(const RoutingTrace& trace, size_t n_slots, std::unique_ptr<CachePolicy> policy,
                           std::span<const float> rates = {}, uint32_t n_parts = 1);

// The least that any eviction could miss, which knows the future (Belady's rule) and need not keep what it
// reads. From the same cache.
CacheCounts simulate_best(const RoutingTrace& trace, size_t n_slots, std::span<const float> rates = {});

// The same for accesses to anything, the first fill for free.
uint64_t best_possible_misses(std::span<const uint64_t> accesses, size_t n_slots);

}  // namespace sluice
