#include "store/slot_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice {

using State = Transfer::State;

SlotCache::SlotCache(std::vector<uint32_t> groups, std::vector<UnitId> first_parts, size_t n_parts,
                     std::byte* slots, size_t n_slots, uint64_t slot_room,
                     std::unique_ptr<CachePolicy> policy, TransferPool& pool, ReadQueue& reads)
    : groups_(std::move(groups)),
      first_parts_(std::move(first_parts)),
      n_parts_(n_parts),
      slots_base_(slots),
      slot_room_(slot_room),
      policy_(std::move(policy)),
      pool_(pool),
      reads_(reads),
      slots_(n_slots),
      holder_(groups_.size(), nullptr),
      n_usable_(n_slots) {
  SLUICE_CHECK(n_slots == 0 || n_slots >= n_parts, "%zu slots for %zu parts", n_slots, n_parts);
  policy_->reset(CacheGeometry(n_slots, groups_));
  resize(n_slots);
}

void SlotCache::begin_acquire(UnitId first, bool some_are_missing) {
  ++acquire_;
  policy_->begin(groups_[first]);
  max_kept_ = n_usable_ - (some_are_missing ? n_parts_ : 0);
}

void SlotCache::keep(UnitId unit) {
  if (is_whole_) return;
  Transfer& transfer = *holder_[unit];
  if (transfer.n_kept == 0) {
    if (is_usable(transfer.slot)) {
      if (n_kept_ == max_kept_) return;
      ++n_kept_;
    }
    if (transfer.refs == 0) count_busy(transfer, 1);
  }
  ++transfer.n_kept;
  policy_->on_hit(transfer.slot, unit);
}

Transfer& SlotCache::lease(UnitId unit, const Layout& layout) {
  const bool is_new = holder_[unit] == nullptr;
  Transfer& transfer = is_new ? move_in(unit, layout) : *holder_[unit];
  if (is_new) policy_->on_insert(transfer.slot, unit);
  if (transfer.n_kept > 0) {
    if (--transfer.n_kept == 0 && is_usable(transfer.slot)) --n_kept_;
  } else {
    if (!is_new && !is_whole_) policy_->on_hit(transfer.slot, unit);
    if (transfer.refs == 0) count_busy(transfer, 1);
  }
  if (transfer.state == State::kReading) reads_.promote(transfer);
  // A read that failed is tried again by the next who wants it.
  if (transfer.state == State::kFailed && transfer.refs == 0) transfer.state = State::kWaiting;
  ++(transfer.state == State::kWaiting && transfer.refs == 0 ? misses_ : hits_);
  ++transfer.refs;
  if (transfer.is_prefetched && !transfer.is_used) useful_prefetched_bytes_ += layout.room;
  transfer.is_used = true;
  transfer.acquire = acquire_;
  read_if_wanted(slots_[transfer.slot]);
  return transfer;
}

Transfer& SlotCache::hold(UnitId unit) {
  Transfer& transfer = *holder_[unit];
  if (transfer.refs == 0 && transfer.n_kept == 0) count_busy(transfer, 1);
  ++transfer.refs;
  return transfer;
}

Presence SlotCache::presence(UnitId unit) const {
  const Transfer* const transfer = holder_[unit];
  if (transfer == nullptr || transfer->state == State::kFailed) return Presence::kAbsent;
  return transfer->state == State::kArrived ? Presence::kHere : Presence::kComing;
}

bool SlotCache::prefetch(UnitId unit, const Layout& layout, Priority priority) {
  Transfer* const held = holder_[unit];
  if (held != nullptr) {
    if (held->state == State::kFailed && held->refs == 0) read_unasked(*held, priority);
    return true;
  }
  if (n_busy_ == n_usable_) return false;
  Transfer& transfer = move_in(unit, layout);
  policy_->on_prefetch(transfer.slot, unit);
  read_unasked(transfer, priority);
  return true;
}

void SlotCache::read_unasked(Transfer& transfer, Priority priority) {
  if (slots_[transfer.slot].first != &transfer) return;  // it waits for a read to end; a demand may come
  transfer.is_prefetched = true;
  prefetched_bytes_ += transfer.layout->room;
  prefetching_.push_back(transfer.unit);
  reads_.stage(transfer, priority);
}

void SlotCache::cancel_prefetches(const std::function<bool(UnitId)>& is_wanted) {
  for (const UnitId unit : prefetching_) {
    Transfer* const transfer = holder_[unit];
    if (transfer == nullptr || !transfer->is_prefetched || transfer->is_used || is_wanted(unit)) continue;
    if (transfer->state != State::kReading) continue;
    reads_.cancel_unless_begun(*transfer);
    if (transfer->state != State::kFailed) continue;
    transfer->is_prefetched = false;
    prefetched_bytes_ -= transfer->layout->room;
  }
  prefetching_.clear();
}

void SlotCache::release(Transfer& transfer) {
  if (--transfer.refs > 0) return;
  Slot& slot = slots_[transfer.slot];
  if (slot.last == &transfer) {
    count_busy(transfer, -1);
  } else {
    if (transfer.state == State::kReading) reads_.cancel(transfer);
    move_on(slot);
  }
}

void SlotCache::on_ended(Transfer& transfer) { move_on(slots_[transfer.slot]); }

Transfer& SlotCache::fill(UnitId unit, const Layout& layout) {
  SLUICE_CHECK(!empty_.empty(), "no slot for unit %u", unit);
  Transfer& transfer = move_in(unit, layout);
  policy_->on_prefetch(transfer.slot, unit);
  transfer.is_used = true;
  return transfer;
}

void SlotCache::take_back(Transfer& transfer) {
  empty_.push_back(transfer.slot);
  empty(transfer.slot);
}

void SlotCache::resize(size_t n_slots) {
  SLUICE_CHECK(n_slots <= slots_.size() && (n_slots >= n_parts_ || slots_.empty()) && n_kept_ == 0,
               "%zu slots", n_slots);
  if (n_slots < slots_.size()) is_whole_ = false;
  n_usable_ = n_slots;
  n_busy_ = n_out_ = 0;
  empty_.clear();
  for (size_t slot = slots_.size(); slot-- > 0;) {
    const Transfer* const last = slots_[slot].last;
    const bool is_busy = last != nullptr && last->refs > 0;
    if (!is_usable(slot)) {
      const bool is_idle =
          last != nullptr && !is_busy && slots_[slot].first == last && last->state != State::kReading;
      if (is_idle) empty(slot);
      n_out_ += slots_[slot].last == nullptr;
    } else if (last == nullptr) {
      empty_.push_back(slot);
    } else {
      n_busy_ += is_busy;
    }
  }
}

void SlotCache::for_each_run_out_of_use(const std::function<void(size_t begin, size_t end)>& run) const {
  for (size_t begin = n_usable_; begin < slots_.size(); ++begin) {
    size_t end = begin;
    while (end < slots_.size() && slots_[end].last == nullptr) ++end;
    if (end > begin) run(begin, end);
    begin = end;
  }
}

// Doomed slots are neither given out nor waited for, so that they do not count.
void SlotCache::count_busy(const Transfer& transfer, int by) {
  if (is_usable(transfer.slot)) n_busy_ += static_cast<size_t>(by);
}

void SlotCache::empty(size_t slot) {
  Transfer* const leaving = std::exchange(slots_[slot].last, nullptr);
  slots_[slot].first = nullptr;
  holder_[leaving->unit] = nullptr;
  if (!leaving->is_used) wasted_bytes_ += leaving->bytes_asked;
  pool_.give_back(leaving);
  policy_->on_emptied(slot);
}

// A free slot; one that nobody wants now; or else one whose leases must end first, of this acquire() rather
// than of another.
size_t SlotCache::choose_slot(UnitId unit) {
  if (!empty_.empty()) {
    const size_t slot = empty_.back();
    empty_.pop_back();
    return slot;
  }
  const auto is_idle = [this](size_t slot) {
    return is_usable(slot) && slots_[slot].last->refs + slots_[slot].last->n_kept == 0;
  };
  const auto is_not_kept = [this, unit](size_t slot) {
    return is_usable(slot) && slots_[slot].last->n_kept == 0 &&
           first_parts_[slots_[slot].last->unit] != first_parts_[unit];
  };
  const auto is_ours = [&](size_t slot) {
    return is_not_kept(slot) && slots_[slot].last->acquire == acquire_;
  };
  if (n_busy_ < n_usable_) return policy_->victim(is_idle);
  for (size_t slot = 0; slot < n_usable_; ++slot) {
    if (is_ours(slot)) return policy_->victim(is_ours);
  }
  return policy_->victim(is_not_kept);
}

Transfer& SlotCache::move_in(UnitId unit, const Layout& layout) {
  const size_t index = choose_slot(unit);
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
    if (evicted->refs > 0) count_busy(*evicted, -1);
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
