// Cached units in slots of equal size under a policy. Who gets a slot is decided when it is asked for, in the
// caller's order: if its holder is still leased or being read, the newcomer waits in line for the slot, and
// the books already say that it is there. So the same accesses count the same hits whatever the disk does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "store/read_queue.h"
#include "store/transfer.h"
#include "store/weight_store.h"

namespace sluice {

class SlotCache {
 public:
  // `slots` is [n_slots, slot_room] bytes; `groups` [n_units], CacheGeometry::kNoGroup for what is not
  // cached.
  SlotCache(std::vector<uint32_t> groups, std::byte* slots, size_t n_slots, uint64_t slot_room,
            std::unique_ptr<CachePolicy> policy, TransferPool& pool, ReadQueue& reads);

  bool holds(UnitId unit) const { return holder_[unit] != nullptr; }

  // One acquire() of cached units, `first` the first of them: begin_acquire(), then keep() for every unit
  // that is there, so that none of the others evicts it, then lease() for all of them in order. No lease
  // waits for the release of a later one: where something is missing one slot is never kept, and the missing
  // go through it if need be.
  void begin_acquire(UnitId first, bool some_are_missing);
  void keep(UnitId unit);
  Transfer& lease(UnitId unit, const Layout& layout);
  void release(Transfer& transfer);

  // Reads a unit that nobody has asked for into a slot that nobody holds; false if there is none.
  bool prefetch(UnitId unit, const Layout& layout);

  void expect(std::span<const Expectation> expected) { policy_->expect(expected); }

  void on_ended(Transfer& transfer);  // its read

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }
  uint64_t evictions() const { return evictions_; }
  uint64_t wasted_bytes() const { return wasted_bytes_; }

 private:
  // Who has the room and who waits for it, in order. The last is who the books say is there.
  struct Slot {
    Transfer* first = nullptr;
    Transfer* last = nullptr;
  };

  size_t choose_slot();
  Transfer& move_in(UnitId unit, const Layout& layout);
  void move_on(Slot& slot);
  void read_if_wanted(Slot& slot);

  std::vector<uint32_t> groups_;  // [n_units]
  std::byte* slots_base_;
  uint64_t slot_room_;
  std::unique_ptr<CachePolicy> policy_;
  TransferPool& pool_;
  ReadQueue& reads_;
  std::vector<Slot> slots_;        // [n_slots]
  std::vector<Transfer*> holder_;  // [n_units] the `last` of a slot, or nullptr
  size_t n_taken_ = 0;             // slots that ever held something: the first ones
  size_t n_busy_ = 0;              // slots whose last is leased or kept
  size_t n_kept_ = 0;              // slots whose last is kept
  size_t max_kept_ = 0;
  uint64_t acquire_ = 0;  // number of the present acquire()
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
  uint64_t evictions_ = 0;
  uint64_t wasted_bytes_ = 0;
};

}  // namespace sluice
