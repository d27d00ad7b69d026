// Cached units in slots of equal size under a policy. Who gets a slot is decided when it is asked for, in the
// caller's order: if its holder is still leased or being read, the newcomer waits in line for the slot, and
// the books already say that it is there. So the same accesses count the same hits whatever the disk does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "store/read_queue.h"
#include "store/transfer.h"
#include "store/weight_store.h"

namespace sluice {

class SlotCache {
 public:
  // `slots` is [n_slots, slot_room] bytes; `groups` [n_units], CacheGeometry::kNoGroup for what is not
  // cached; `first_parts` [n_units] the first of the parts that a unit belongs to; `n_parts` of them at most,
  // and at least as many slots.
  SlotCache(std::vector<uint32_t> groups, std::vector<UnitId> first_parts, size_t n_parts, std::byte* slots,
            size_t n_slots, uint64_t slot_room, std::unique_ptr<CachePolicy> policy, TransferPool& pool,
            ReadQueue& reads);

  bool holds(UnitId unit) const { return holder_[unit] != nullptr; }
  Presence presence(UnitId unit) const;

  // One acquire() of cached units, `first` the first of them: begin_acquire(), then keep() for every unit
  // that is there, so that none of the others evicts it, then lease() for all of them in order. No lease
  // waits for the release of a later one, nor for one of its own parts: where something is missing as many
  // slots as there are parts are never kept, and the missing go through them if need be.
  void begin_acquire(UnitId first, bool some_are_missing);
  void keep(UnitId unit);
  Transfer& lease(UnitId unit, const Layout& layout);
  void release(Transfer& transfer);

  // Leases a unit that is here beside all books: no access, neither counted nor told to the policy.
  Transfer& hold(UnitId unit);

  // Reads a unit that nobody has asked for into a slot that nobody holds; false if there is none. One that
  // has a slot and whose read failed or was called off is read again.
  bool prefetch(UnitId unit, const Layout& layout, Priority priority);
  // Calls off those of them that nobody has asked for since, that have not been begun, and that are not
  // wanted.
  void cancel_prefetches(const std::function<bool(UnitId)>& is_wanted);

  void expect(std::span<const Expectation> expected) { policy_->expect(expected); }
  void seed(std::span<const float> rates) { policy_->seed(rates); }

  void on_ended(Transfer& transfer);  // its read

  // While loading: a slot for a unit, to be read into; and takes it back from one that did not come to be
  // read.
  Transfer& fill(UnitId unit, const Layout& layout);
  void take_back(Transfer& transfer);
  // After loading, if every unit has a slot: until slots go out of use nobody can be evicted, and nobody
  // keeps books on who was used when, which would cost each token some per cent.
  void set_whole() { is_whole_ = true; }
  bool is_whole() const { return is_whole_; }

  // Slots from `n_slots` (at least 1) on go out of use: nothing new moves in. Those of them that nobody holds
  // or reads into are emptied at once, the others stay until a later call finds them idle. Not between
  // begin_acquire() and the last lease() of one acquire().
  void resize(size_t n_slots);
  size_t n_usable() const { return n_usable_; }
  size_t n_filled_or_usable() const { return slots_.size() - n_out_; }
  // Calls run(begin, end) for every longest run of slots that are out of use and empty.
  void for_each_run_out_of_use(const std::function<void(size_t begin, size_t end)>& run) const;

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }
  uint64_t evictions() const { return evictions_; }
  uint64_t wasted_bytes() const { return wasted_bytes_; }
  uint64_t prefetched_bytes() const { return prefetched_bytes_; }
  uint64_t useful_prefetched_bytes() const { return useful_prefetched_bytes_; }

 private:
  // Who has the room and who waits for it, in order. The last is who the books say is there.
  struct Slot {
    Transfer* first = nullptr;
    Transfer* last = nullptr;
  };

  bool is_usable(size_t slot) const { return slot < n_usable_; }
  void count_busy(const Transfer& transfer, int by);
  void empty(size_t slot);
  size_t choose_slot(UnitId unit);
  Transfer& move_in(UnitId unit, const Layout& layout);
  void move_on(Slot& slot);
  void read_if_wanted(Slot& slot);
  void read_unasked(Transfer& transfer, Priority priority);

  std::vector<uint32_t> groups_;     // [n_units]
  std::vector<UnitId> first_parts_;  // [n_units]
  size_t n_parts_;
  std::byte* slots_base_;
  uint64_t slot_room_;
  std::unique_ptr<CachePolicy> policy_;
  TransferPool& pool_;
  ReadQueue& reads_;
  std::vector<Slot> slots_;        // [n_slots]
  std::vector<Transfer*> holder_;  // [n_units] the `last` of a slot, or nullptr
  size_t n_usable_;                // slots that may be given out: the first ones
  std::vector<size_t> empty_;      // usable slots that hold nothing, the first one last
  size_t n_out_ = 0;               // slots out of use and empty
  size_t n_busy_ = 0;              // usable slots whose last is leased or kept
  size_t n_kept_ = 0;              // usable slots whose last is kept
  size_t max_kept_ = 0;
  bool is_whole_ = false;
  uint64_t acquire_ = 0;  // number of the present acquire()
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
  uint64_t evictions_ = 0;
  uint64_t wasted_bytes_ = 0;
  uint64_t prefetched_bytes_ = 0;
  uint64_t useful_prefetched_bytes_ = 0;
  std::vector<UnitId> prefetching_;  // asked for by prefetch() since the last cancel_prefetches()
};

}  // namespace sluice
