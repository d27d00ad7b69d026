// One unit, or some rows of one, in its room in memory or on its way there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "store/layout.h"
#include "store/weight_store.h"

namespace sluice {

struct LeaseItem;

struct ReadFailure {
  int error = 0;  // errno; 0 for none
  uint32_t file = 0;
  uint64_t offset = 0;
};

// Belongs to the caller's thread, but for the last group of members while a read is under way.
struct Transfer {
  enum class Place : uint8_t { kPinned, kSlot, kStream, kRows };
  enum class State : uint8_t {
    kWaiting,  // no read yet: for room, or for the room's holder to leave
    kReading,  // with the ReadQueue, until it comes back from take_ended()
    kArrived,
    kFailed,  // `failure` says why, or it was cancelled
  };

  UnitId unit = 0;
  Place place = Place::kPinned;
  State state = State::kWaiting;
  bool is_used = false;               // was ever leased
  bool is_prefetched = false;         // kSlot: read before anybody asked for it
  bool is_woven = false;              // its planes are (encoding/encoding.h)
  bool is_dropped = false;            // its room is free as soon as nothing is reading into it
  uint32_t refs = 0;                  // lease items that hold it
  uint32_t slot = 0;                  // kSlot: which
  uint32_t n_kept = 0;                // kSlot: items of the present acquire() that have yet to lease it
  uint64_t acquire = 0;               // kSlot: number of the last acquire() that leased it
  Transfer* next_in_slot = nullptr;   // kSlot: who gets the room after this one
  std::byte* base = nullptr;          // its room
  const Layout* layout = nullptr;     // the unit's, or `rows`
  Layout rows;                        // kRows
  LeaseItem* first_waiter = nullptr;  // items to tell on arrival, a list

  // The ReadQueue's.
  size_t next_segment = 0;
  uint64_t next_byte = 0;    // of that segment
  uint64_t bytes_asked = 0;  // of the system
  uint32_t n_in_flight = 0;  // pieces
  bool is_queued = false;    // has pieces that were not asked for yet
  ReadFailure failure;
};

// Transfers are reused: their memory, and that of their layouts, stays.
class TransferPool {
 public:
  Transfer* take(UnitId unit, Transfer::Place place, const Layout* layout);
  void give_back(Transfer* transfer) { free_.push_back(transfer); }

 private:
  std::deque<Transfer> all_;
  std::vector<Transfer*> free_;
};

}  // namespace sluice
