#include "store/ring.h"

#include "base/align.h"

namespace sluice {

bool Ring::place(Transfer& transfer) {
  const uint64_t room = transfer.layout->room;
  uint64_t begin = 0;
  uint64_t end_of_free = bytes_;
  if (!entries_.empty()) {
    const uint64_t oldest = entries_.front().begin;
    begin = entries_.back().end;
    const bool has_wrapped = entries_.back().begin < oldest;
    if (has_wrapped) {
      end_of_free = oldest;
    } else if (room > bytes_ - begin) {
      begin = 0;
      end_of_free = oldest;
    }
  }
  if (room > end_of_free - begin) return false;
  transfer.base = base_ + begin;
  entries_.push_back({&transfer, begin, begin + room});
  return true;
}

}  // namespace sluice
