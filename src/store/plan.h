// Who gets the memory: how weight_bytes is divided between units that stay, slots and rings. Pure arithmetic,
// so that store_needs() and the store cannot disagree.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "platform/file.h"
#include "store/weight_store.h"

namespace sluice {

struct StorePlan {
  std::vector<uint8_t> pinned;  // [n_units] 1: stays from load() on
  uint64_t pinned_room = 0;     // bytes of one arena for them, kCached units apart
  bool cache_is_whole = false;  // every kCached unit is loaded: pinned, or in a slot of its own
  uint64_t cache_room = 0;      // bytes: of the whole cache, or of all slots
  size_t n_slots = 0;           // 0 if every kCached unit is pinned
  uint64_t slot_room = 0;       // bytes of the largest kCached unit
  uint64_t stream_room = 0;     // bytes of the ring that is read ahead; 0 if every kStreamed unit is pinned
  uint64_t row_room = 0;        // bytes of the ring for rows; 0 if nothing can be asked by row
  uint64_t reread_bytes = 0;    // of everything that is not pinned
  uint64_t streamed_bytes = 0;  // of which kStreamed

  StoreStats gauges() const;
  uint64_t total() const { return pinned_room + cache_room + stream_room + row_room; }
};

// Throws Error(kNoMemory), naming the minimum, if it is more than `weight_bytes`.
void refuse_below_minimum(std::span<const UnitSpec> units, uint64_t weight_bytes);

// True if every unit can be pinned.
bool fits_whole(std::span<const UnitSpec> units, IoMode mode, uint64_t weight_bytes);

// Precondition: `weight_bytes` >= store_needs(units, 1).minimum, and everything fits packed (kBuffered) or
// does not even so.
// With `by_slots` a whole cache is in slots, so that some can be given up, if slots of equal size fit as
// well.
StorePlan plan_store(std::span<const UnitSpec> units, IoMode mode, uint64_t weight_bytes, size_t queue_depth,
                     bool by_slots = false);

// Units are read in pieces of at most this size. A queue depth of n means n of them in flight, or as many
// smaller ones as have the same bytes, up to n * kSmallReads: small reads need a deeper queue.
inline constexpr uint64_t kMaxReadBytes = uint64_t{512} << 10;
inline constexpr size_t kSmallReads = 8;

}  // namespace sluice
