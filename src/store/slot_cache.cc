#include "store/slot_cache.h"

#include <utility>

#include "base/check.h"

namespace sluice {

using State = Transfer::State;

SlotCache::SlotCache(size_t n_units, std::byte* slots, size_t n_slots, uint64_t slot_room,
                     std::unique_ptr<CachePolicy> policy, TransferPool& pool, ReadQueue& reads)
    : slots_base_(slots),
      slot_room_(slot_room),
      policy_(std::move(policy)),
      pool_(pool),
      reads_(reads),
      slots_(n_slots),
      holder_(n_units, nullptr) {
  policy_->reset(n_slots);
}

Transfer& SlotCache::lease(UnitId unit, bool* is_hit) {
  Transfer& transfer = *holder_[unit];
  policy_->on_hit(transfer.slot, unit);
  const bool is_first = slots_[transfer.slot].first == &transfer;
  const bool must_start = transfer.refs == 0 && is_first &&
                          (transfer.state == State::kFailed || transfer.state == State::kWaiting);
  *is_hit = !must_start;
  retain(transfer);
  if (must_start) {
    reads_.stage(transfer, Priority::kDemand);
  } else if (transfer.state == State::kReading) {
    reads_.promote(transfer);
  }
  return transfer;
}

Transfer& SlotCache::lease_new(UnitId unit, const Layout& layout) {
  Transfer& transfer = move_in(unit, layout);
  retain(transfer);
  move_on(slots_[transfer.slot]);
  return transfer;
}

bool SlotCache::prefetch(UnitId unit, const Layout& layout) {
  if (n_leased_ == slots_.size()) return false;
  Transfer& transfer = move_in(unit, layout);
  if (slots_[transfer.slot].first == &transfer) reads_.stage(transfer, Priority::kPrefetch);
  return true;
}

void SlotCache::release(Transfer& transfer) {
  if (--transfer.refs > 0) return;
  Slot& slot = slots_[transfer.slot];
  if (slot.last == &transfer) {
    --n_leased_;
  } else {
    if (transfer.state == State::kReading) reads_.cancel(transfer);
    move_on(slot);
  }
}

void SlotCache::on_ended(Transfer& transfer) { move_on(slots_[transfer.slot]); }

void SlotCache::retain(Transfer& transfer) {
  if (transfer.refs++ == 0) ++n_leased_;
  transfer.is_used = true;
}

// A free slot, one that nobody has leased, or else one whose leases must end first.
size_t SlotCache::choose_slot() {
  if (n_taken_ < slots_.size()) return n_taken_++;
  const bool some_are_free = n_leased_ < slots_.size();
  return policy_->victim([&](size_t slot) { return !some_are_free || slots_[slot].last->refs == 0; });
}

Transfer& SlotCache::move_in(UnitId unit, const Layout& layout) {
  const size_t index = choose_slot();
  Slot& slot = slots_[index];
  Transfer& transfer = *pool_.take(unit, Transfer::Place::kSlot, &layout);
  transfer.slot = static_cast<uint32_t>(index);
  transfer.base = slots_base_ + index * slot_room_;
  Transfer* const evicted = std::exchange(slot.last, &transfer);
  if (evicted == nullptr) {
    slot.first = &transfer;
  } else {
    ++evictions_;
    evicted->next_in_slot = &transfer;
    holder_[evicted->unit] = nullptr;
    if (evicted->refs > 0) --n_leased_;
    if (evicted->refs == 0 && evicted->state == State::kReading) reads_.cancel(*evicted);
  }
  holder_[unit] = &transfer;
  policy_->on_insert(index, unit);
  move_on(slot);
  return transfer;
}

// Lets those leave who have been evicted and are neither leased nor being read; then whoever is first, and
// wanted, may read.
void SlotCache::move_on(Slot& slot) {
  while (slot.first != slot.last && slot.first->refs == 0 && slot.first->state != State::kReading) {
    Transfer* const leaving = slot.first;
    slot.first = leaving->next_in_slot;
    if (!leaving->is_used) wasted_bytes_ += leaving->bytes_asked;
    pool_.give_back(leaving);
  }
  if (slot.first->state == State::kWaiting && slot.first->refs > 0) {
    reads_.stage(*slot.first, Priority::kDemand);
  }
}

}  // namespace sluice
