// Streamed units that are not pinned, read ahead into a ring in the cyclic order of their ids. What one pass
// did not use is expected to be skipped by the next, until it is asked for again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "store/read_queue.h"
#include "store/ring.h"
#include "store/transfer.h"

namespace sluice {

class StreamRing {
 public:
  // `order`: the units, ascending; layouts is [n_units].
  StreamRing(std::vector<UnitId> order, const std::vector<Layout>& layouts, std::byte* base, uint64_t bytes,
             TransferPool& pool, ReadQueue& reads);

  // Leases a unit. After the last of one acquire(), call catch_up(). Room comes free in the order of these
  // calls: none of them waits for the release of a later one.
  Transfer& lease(UnitId unit);
  // Drops what the leases have passed over, and reads on.
  void catch_up();
  void release(Transfer& transfer);
  void on_ended(Transfer& transfer);  // its read
  void read_ahead();
  // Calls see(unit) for all that are there or on their way.
  void for_each_present(const std::function<void(UnitId)>& see) const;

  uint64_t wasted_bytes() const { return wasted_bytes_; }

 private:
  size_t position_of(UnitId unit) const;
  size_t after(size_t position) const { return position + 1 == order_.size() ? 0 : position + 1; }
  size_t distance(size_t from, size_t to) const { return to >= from ? to - from : to + order_.size() - from; }
  bool jump_to(size_t position);
  void drop_passed(size_t n_oldest, bool are_skipped);
  size_t n_up_to_youngest_lease();
  void forget(const Transfer& transfer);
  void drop(Transfer& transfer);
  void reclaim();

  const std::vector<UnitId> order_;  // [n_streamed]
  const std::vector<Layout>& layouts_;
  TransferPool& pool_;
  ReadQueue& reads_;
  Ring ring_;
  std::vector<Transfer*> present_;  // [n_streamed] in the ring or wanted, the latest, and not dropped
  std::vector<uint8_t> expected_;   // [n_streamed] the next pass will want it
  std::vector<size_t> new_wanted_;  // positions asked for since the last catch_up() that were not there
  std::deque<Transfer*> wanted_;    // leased and without room, in order of acquire
  size_t next_ = 0;                 // position that is read ahead next
  uint64_t wasted_bytes_ = 0;
};

// Rows that are read for one lease each, into a ring of their own.
class RowRing {
 public:
  RowRing(std::byte* base, uint64_t bytes, TransferPool& pool, ReadQueue& reads)
      : pool_(pool), reads_(reads), ring_(base, bytes) {}

  uint64_t bytes() const { return ring_.bytes(); }
  // Leases rows: `extents` are what they occupy on disk. nullptr if that is more than bytes(). After the last
  // of one acquire(), call start().
  Transfer* lease(UnitId unit, std::span<const Extent> extents, IoMode mode);
  void start();  // what has room
  void release(Transfer& transfer);
  void on_ended(Transfer& transfer);  // its read

 private:
  TransferPool& pool_;
  ReadQueue& reads_;
  Ring ring_;
  std::deque<Transfer*> wanted_;  // without room, in order of acquire
};

}  // namespace sluice
