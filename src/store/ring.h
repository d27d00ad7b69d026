// Room that is given out in order, each piece contiguous, and taken back oldest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "store/transfer.h"

namespace sluice {

class Ring {
 public:
  Ring(std::byte* base, uint64_t bytes) : base_(base), bytes_(bytes) {}

  uint64_t bytes() const { return bytes_; }
  // Sets transfer.base; false if there is no room now.
  bool place(Transfer& transfer);
  // Takes back the oldest rooms whose transfers are dropped and not read into any more; `vacated` is told of
  // each.
  template <typename Vacated>
  void reclaim(Vacated vacated) {
    while (!entries_.empty()) {
      Transfer& oldest = *entries_.front().transfer;
      if (!oldest.is_dropped || oldest.state == Transfer::State::kReading) return;
      entries_.pop_front();
      vacated(oldest);
    }
  }
  // Every transfer in the ring, oldest first.
  template <typename Visit>
  void for_each(Visit visit) {
    for (const Entry& entry : entries_) visit(*entry.transfer);
  }

 private:
  struct Entry {
    Transfer* transfer;
    uint64_t begin, end;
  };

  std::byte* base_;
  uint64_t bytes_;
  std::deque<Entry> entries_;
};

}  // namespace sluice
