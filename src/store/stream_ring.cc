#include "store/stream_ring.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice {

using State = Transfer::State;

StreamRing::StreamRing(std::vector<UnitId> order, const std::vector<Layout>& layouts, std::byte* base,
                       uint64_t bytes, TransferPool& pool, ReadQueue& reads)
    : order_(std::move(order)),
      layouts_(layouts),
      pool_(pool),
      reads_(reads),
      ring_(base, bytes),
      present_(order_.size(), nullptr),
      expected_(order_.size(), 1) {}

size_t StreamRing::position_of(UnitId unit) const {
  const auto found = std::lower_bound(order_.begin(), order_.end(), unit);
  return static_cast<size_t>(found - order_.begin());
}

void StreamRing::for_each_present(const std::function<void(UnitId)>& see) const {
  for (size_t p = 0; p < order_.size(); ++p) {
    if (present_[p] != nullptr) see(order_[p]);
  }
}

Transfer& StreamRing::lease(UnitId unit) {
  const size_t position = position_of(unit);
  Transfer*& transfer = present_[position];
  if (transfer != nullptr && !new_wanted_.empty()) {
    // It may hold the very room that the units wanted before it need: it gets in line behind them.
    if (transfer->refs == 0) drop(*transfer);
    transfer = nullptr;
  }
  if (transfer == nullptr) {
    transfer = pool_.take(unit, Transfer::Place::kStream, &layouts_[unit]);
    wanted_.push_back(transfer);
    new_wanted_.push_back(position);
  } else if (transfer->state == State::kReading) {
    reads_.promote(*transfer);
  } else if (transfer->state == State::kFailed && transfer->refs == 0) {
    reads_.stage(*transfer, Priority::kDemand);
  }
  ++transfer->refs;
  transfer->is_used = true;
  return *transfer;
}

void StreamRing::catch_up() {
  if (new_wanted_.empty()) {
    drop_passed(n_up_to_youngest_lease(), true);
  } else {
    const size_t from = next_;
    std::sort(new_wanted_.begin(), new_wanted_.end(),
              [&](size_t a, size_t b) { return distance(from, a) < distance(from, b); });
    bool is_forward = true;
    for (size_t position : new_wanted_) is_forward &= jump_to(position);
    new_wanted_.clear();
    drop_passed(SIZE_MAX, is_forward);
  }
  reclaim();
  read_ahead();
}

// Goes on after `position`, which is wanted and was not read ahead. True if it is a short way forward: the
// units in between are skipped by this pass. Anything else is a pass that began early.
bool StreamRing::jump_to(size_t position) {
  const bool is_forward = distance(next_, position) <= order_.size() / 2;
  if (is_forward) {
    for (size_t p = next_; p != position; p = after(p)) {
      if (present_[p] == nullptr) expected_[p] = 0;
    }
  }
  // It was thought to be skipped, and so were its neighbours: that was wrong.
  for (size_t p = position; !expected_[p]; p = after(p)) expected_[p] = 1;
  next_ = after(position);
  return is_forward;
}

size_t StreamRing::n_up_to_youngest_lease() {
  size_t n = 0, youngest = 0;
  ring_.for_each([&](Transfer& transfer) {
    ++n;
    if (transfer.refs > 0) youngest = n;
  });
  return youngest;
}

// Drops what is not leased among the oldest in the ring.
void StreamRing::drop_passed(size_t n_oldest, bool are_skipped) {
  size_t n = 0;
  ring_.for_each([&](Transfer& transfer) {
    if (n++ >= n_oldest || transfer.refs > 0 || transfer.is_dropped) return;
    if (are_skipped) expected_[position_of(transfer.unit)] = 0;
    drop(transfer);
  });
}

void StreamRing::forget(const Transfer& transfer) {
  Transfer*& present = present_[position_of(transfer.unit)];
  if (present == &transfer) present = nullptr;
}

void StreamRing::drop(Transfer& transfer) {
  transfer.is_dropped = true;
  forget(transfer);
  if (transfer.state == State::kReading) reads_.cancel(transfer);
}

void StreamRing::reclaim() {
  ring_.reclaim([this](Transfer& transfer) {
    if (!transfer.is_used) wasted_bytes_ += transfer.bytes_asked;
    pool_.give_back(&transfer);
  });
}

void StreamRing::release(Transfer& transfer) {
  if (--transfer.refs > 0) return;
  if (transfer.state == State::kWaiting) {
    wanted_.erase(std::find(wanted_.begin(), wanted_.end(), &transfer));
    forget(transfer);
    pool_.give_back(&transfer);
  } else {
    drop(transfer);
  }
  reclaim();
  read_ahead();
}

void StreamRing::on_ended(Transfer& transfer) {
  if (!transfer.is_dropped) return;
  reclaim();
  read_ahead();
}

// What is wanted first; then, in order, as much as the ring holds.
void StreamRing::read_ahead() {
  while (!wanted_.empty()) {
    if (!ring_.place(*wanted_.front())) return;
    reads_.stage(*wanted_.front(), Priority::kDemand);
    wanted_.pop_front();
  }
  for (size_t n = 0; n < order_.size(); ++n, next_ = after(next_)) {
    if (!expected_[next_]) continue;
    if (present_[next_] != nullptr) return;  // once round
    Transfer* const transfer = pool_.take(order_[next_], Transfer::Place::kStream, &layouts_[order_[next_]]);
    if (!ring_.place(*transfer)) {
      pool_.give_back(transfer);
      return;
    }
    present_[next_] = transfer;
    reads_.stage(*transfer, Priority::kAhead);
  }
}

Transfer* RowRing::lease(UnitId unit, std::span<const Extent> extents, IoMode mode) {
  Transfer* const transfer = pool_.take(unit, Transfer::Place::kRows, nullptr);
  lay_out(extents, mode, transfer->rows);
  if (transfer->rows.room > ring_.bytes()) {
    pool_.give_back(transfer);
    return nullptr;
  }
  transfer->refs = 1;
  transfer->is_used = true;
  wanted_.push_back(transfer);
  return transfer;
}

void RowRing::start() {
  while (!wanted_.empty() && ring_.place(*wanted_.front())) {
    reads_.stage(*wanted_.front(), Priority::kDemand);
    wanted_.pop_front();
  }
}

void RowRing::release(Transfer& transfer) {
  --transfer.refs;
  if (transfer.state == State::kWaiting) {
    wanted_.erase(std::find(wanted_.begin(), wanted_.end(), &transfer));
    pool_.give_back(&transfer);
    return;
  }
  transfer.is_dropped = true;
  if (transfer.state == State::kReading) reads_.cancel(transfer);
  on_ended(transfer);
}

void RowRing::on_ended(Transfer& transfer) {
  if (!transfer.is_dropped) return;
  ring_.reclaim([this](Transfer& vacated) { pool_.give_back(&vacated); });
  start();
}

}  // namespace sluice
