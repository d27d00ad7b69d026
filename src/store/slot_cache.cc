#include "store/slot_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice {

using State = Transfer::State;

SlotCache::SlotCache(std::vector<uint32_t> groups, std::byte* slots, size_t n_slots, uint64_t slot_room,
                     std::unique_ptr<CachePolicy> policy, TransferPool& pool, ReadQueue& reads)
    : groups_(std::move(groups)),
      slots_base_(slots),
      slot_room_(slot_room),
      policy_(std::move(policy)),
      pool_(pool),
      reads_(reads),
      slots_(n_slots),
      holder_(groups_.size(), nullptr) {
  policy_->reset(CacheGeometry(n_slots, groups_));
}

void SlotCache::begin_acquire(UnitId first, bool some_are_missing) {
  ++acquire_;
  policy_->begin(groups_[first]);
  max_kept_ = slots_.size() - (some_are_missing ? 1 : 0);
}

void SlotCache::keep(UnitId unit) {
  Transfer& transfer = *holder_[unit];
  if (transfer.n_kept == 0) {
    if (n_kept_ == max_kept_) return;
    ++n_kept_;
    if (transfer.refs == 0) ++n_busy_;
  }
  ++transfer.n_kept;
  policy_->on_hit(transfer.slot, unit);
}

Transfer& SlotCache::lease(UnitId unit, const Layout& layout) {
  const bool is_new = holder_[unit] == nullptr;
  Transfer& transfer = is_new ? move_in(unit, layout) : *holder_[unit];
  if (is_new) policy_->on_insert(transfer.slot, unit);
  if (transfer.n_kept > 0) {
    if (--transfer.n_kept == 0) --n_kept_;
  } else {
    if (!is_new) policy_->on_hit(transfer.slot, unit);
    if (transfer.refs == 0) ++n_busy_;
  }
  if (transfer.state == State::kReading) reads_.promote(transfer);
  // A read that failed is tried again by the next who wants it.
  if (transfer.state == State::kFailed && transfer.refs == 0) transfer.state = State::kWaiting;
  ++(transfer.state == State::kWaiting && transfer.refs == 0 ? misses_ : hits_);
  ++transfer.refs;
  transfer.is_used = true;
  transfer.acquire = acquire_;
  read_if_wanted(slots_[transfer.slot]);
  return transfer;
}

bool SlotCache::prefetch(UnitId unit, const Layout& layout) {
  if (n_busy_ == slots_.size()) return false;
  Transfer& transfer = move_in(unit, layout);
  policy_->on_prefetch(transfer.slot, unit);
  if (slots_[transfer.slot].first == &transfer) reads_.stage(transfer, Priority::kPrefetch);
  return true;
}

void SlotCache::release(Transfer& transfer) {
  if (--transfer.refs > 0) return;
  Slot& slot = slots_[transfer.slot];
  if (slot.last == &transfer) {
    --n_busy_;
  } else {
    if (transfer.state == State::kReading) reads_.cancel(transfer);
    move_on(slot);
  }
}

void SlotCache::on_ended(Transfer& transfer) { move_on(slots_[transfer.slot]); }

// A free slot; one that nobody wants now; or else one whose leases must end first, of this acquire() rather
// than of another.
size_t SlotCache::choose_slot() {
  if (n_taken_ < slots_.size()) return n_taken_++;
  const auto is_idle = [this](size_t slot) {
    return slots_[slot].last->refs + slots_[slot].last->n_kept == 0;
  };
  const auto is_not_kept = [this](size_t slot) { return slots_[slot].last->n_kept == 0; };
  const auto is_ours = [&](size_t slot) {
    return is_not_kept(slot) && slots_[slot].last->acquire == acquire_;
  };
  if (n_busy_ < slots_.size()) return policy_->victim(is_idle);
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    if (is_ours(slot)) return policy_->victim(is_ours);
  }
  return policy_->victim(is_not_kept);
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
    if (evicted->refs > 0) --n_busy_;
    if (evicted->refs == 0 && evicted->state == State::kReading) reads_.cancel(*evicted);
  }
  holder_[unit] = &transfer;
  move_on(slot);
  return transfer;
}

// Lets those leave who have been evicted and are neither leased nor being read.
void SlotCache::move_on(Slot& slot) {
  while (slot.first != slot.last && slot.first->refs == 0 && slot.first->state != State::kReading) {
    Transfer* const leaving = slot.first;
    slot.first = leaving->next_in_slot;
    if (!leaving->is_used) wasted_bytes_ += leaving->bytes_asked;
    pool_.give_back(leaving);
  }
  read_if_wanted(slot);
}

void SlotCache::read_if_wanted(Slot& slot) {
  if (slot.first->state == State::kWaiting && slot.first->refs > 0) {
    reads_.stage(*slot.first, Priority::kDemand);
  }
}

}  // namespace sluice
