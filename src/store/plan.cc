#include "store/plan.h"

#include <algorithm>
#include <cinttypes>
#include <numeric>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "store/layout.h"

namespace sluice {
namespace {

constexpr uint64_t kMinRowRing = 64 << 10;
constexpr uint64_t kMaxRowRing = 4 << 20;
constexpr uint64_t kRowsInFlight = 512;  // what the row ring is meant for, memory permitting
constexpr uint64_t kSlotsBesideStream = 4;
constexpr uint64_t kSmallUnit = 64 << 10;  // not worth a read in every pass

// Bytes by kind, for one way to read.
struct Rooms {
  std::vector<uint64_t> unit;  // [n_units]
  uint64_t streamed = 0, cached = 0, by_row = 0, always = 0;
  uint64_t largest_streamed = 0, largest_cached = 0;
  uint64_t n_parts = 1;  // kCached units that must have slots at once
  // The largest single row of each kind that can be asked for by row.
  uint64_t row_of_by_row = 0, row_of_streamed = 0;

  uint64_t all() const {
    return round_up(streamed + by_row + always, kPageBytes) + round_up(cached, kPageBytes);
  }
};

// What one row takes at most: every extent of its own.
uint64_t row_room(const UnitSpec& unit, IoMode mode) {
  uint64_t room = 0;
  for (const Extent& extent : unit.extents) {
    const uint64_t bytes = extent.bytes / static_cast<uint64_t>(unit.rows);
    room +=
        mode == IoMode::kDirect ? round_up(bytes, kPageBytes) + kPageBytes : round_up(bytes, kCacheLineBytes);
  }
  return room;
}

Rooms measure(std::span<const UnitSpec> units, IoMode mode) {
  Rooms rooms;
  Layout layout;
  for (const UnitSpec& unit : units) {
    lay_out(unit.extents, mode_of(unit, mode), layout);
    rooms.unit.push_back(layout.room);
    switch (unit.kind) {
      case UnitKind::kStreamed:
        rooms.streamed += layout.room;
        rooms.largest_streamed = std::max(rooms.largest_streamed, layout.room);
        break;
      case UnitKind::kCached:
        rooms.cached += layout.room;
        rooms.largest_cached = std::max(rooms.largest_cached, layout.room);
        rooms.n_parts = std::max<uint64_t>(rooms.n_parts, unit.n_parts);
        break;
      case UnitKind::kByRow:
        rooms.by_row += layout.room;
        break;
      case UnitKind::kPinned:
        rooms.always += layout.room;
        break;
    }
    if (unit.kind == UnitKind::kByRow) {
      rooms.row_of_by_row = std::max(rooms.row_of_by_row, row_room(unit, mode));
    } else if (unit.kind == UnitKind::kStreamed && unit.rows > 1) {
      rooms.row_of_streamed = std::max(rooms.row_of_streamed, row_room(unit, mode));
    }
  }
  return rooms;
}

uint64_t least_stream_ring(const Rooms& rooms) {
  return round_up(std::min(rooms.streamed, 2 * rooms.largest_streamed), kPageBytes);
}

uint64_t least_row_ring(uint64_t row) {
  return row == 0 ? 0 : round_up(std::max(kMinRowRing, 2 * row), kPageBytes);
}

// The least, and more out of `spare`.
uint64_t row_ring(uint64_t row, uint64_t spare) {
  const uint64_t least = least_row_ring(row);
  const uint64_t wanted = std::max(least, round_up(std::min(kRowsInFlight * row, kMaxRowRing), kPageBytes));
  return least + std::min(wanted - least, round_down(spare / 8, kPageBytes));
}

// The largest row of all.
uint64_t any_row(const Rooms& rooms) { return std::max(rooms.row_of_by_row, rooms.row_of_streamed); }

// The least that the cache may have.
uint64_t least_slots(const Rooms& rooms) {
  return round_up(rooms.n_parts * rooms.largest_cached, kPageBytes);
}

// What no plan that reads anything again can do without.
uint64_t least_total(const Rooms& rooms) {
  return least_stream_ring(rooms) + least_row_ring(any_row(rooms)) + least_slots(rooms) +
         round_up(rooms.always, kPageBytes);
}

bool is_kind(const UnitSpec& unit, UnitKind kind) { return unit.kind == kind; }

void pin(StorePlan& plan, const Rooms& rooms, size_t unit) {
  plan.pinned[unit] = 1;
  plan.pinned_room += rooms.unit[unit];
}

// Pins kStreamed units until what is pinned takes `bytes`, spread so that reading never pauses while what is
// pinned is computed: small ones first, then every unit when its share of the bytes has come up.
void pin_evenly(StorePlan& plan, std::span<const UnitSpec> units, const Rooms& rooms, uint64_t bytes) {
  uint64_t rest = 0;
  for (size_t u = 0; u < units.size(); ++u) {
    if (!is_kind(units[u], UnitKind::kStreamed)) continue;
    if (rooms.unit[u] <= kSmallUnit && plan.pinned_room + rooms.unit[u] <= bytes) {
      pin(plan, rooms, u);
    } else {
      rest += rooms.unit[u];
    }
  }
  if (rest == 0) return;
  const double share = static_cast<double>(bytes - plan.pinned_room) / static_cast<double>(rest);
  double due = 0;
  // The second round takes what still fits after the roundings of the first.
  for (int round = 0; round < 2; ++round) {
    for (size_t u = 0; u < units.size(); ++u) {
      if (!is_kind(units[u], UnitKind::kStreamed) || plan.pinned[u]) continue;
      const auto room = static_cast<double>(rooms.unit[u]);
      due += share * room;
      if ((round == 0 && due < room) || plan.pinned_room + rooms.unit[u] > bytes) continue;
      pin(plan, rooms, u);
      due -= room;
    }
  }
}

}  // namespace

StoreNeeds store_needs(std::span<const UnitSpec> units, size_t cached_per_pass) {
  const Rooms packed = measure(units, IoMode::kBuffered);
  const Rooms paged = measure(units, IoMode::kDirect);
  StoreNeeds needs;
  needs.all = packed.all();
  needs.minimum = std::min(needs.all, least_total(paged));
  const uint64_t experts = cached_per_pass * round_up(paged.largest_cached, kPageBytes);
  needs.one_token = experts == 0 ? needs.minimum
                                 : std::min(needs.all, round_up(paged.streamed + paged.always, kPageBytes) +
                                                           least_row_ring(any_row(paged)) + experts);
  return needs;
}

void refuse_below_minimum(std::span<const UnitSpec> units, uint64_t weight_bytes) {
  const uint64_t minimum = store_needs(units, 1).minimum;
  if (weight_bytes >= minimum) return;
  throw_error(ErrorKind::kNoMemory,
              "the weights need at least %" PRIu64 " MiB of memory and may have %" PRIu64
              " MiB: raise --weights or --ram",
              div_up(minimum, kMiB), weight_bytes / kMiB);
}

StoreStats StorePlan::gauges() const {
  StoreStats stats;
  stats.pinned_bytes = pinned_room;
  stats.cache_bytes = cache_room;
  stats.cache_slots = n_slots;
  stats.ring_bytes = stream_room + row_room;
  stats.streamed_bytes = streamed_bytes;
  return stats;
}

StoreStats planned_stats(std::span<const UnitSpec> units, const StoreOptions& options) {
  refuse_below_minimum(units, options.weight_bytes);
  const bool packed =
      options.io == IoChoice::kBuffered || fits_whole(units, IoMode::kBuffered, options.weight_bytes);
  const IoMode mode = packed ? IoMode::kBuffered : IoMode::kDirect;
  return plan_store(units, mode, options.weight_bytes, options.queue_depth, options.governor).gauges();
}

bool fits_whole(std::span<const UnitSpec> units, IoMode mode, uint64_t weight_bytes) {
  return measure(units, mode).all() <= weight_bytes;
}

StorePlan plan_store(std::span<const UnitSpec> units, IoMode mode, uint64_t weight_bytes, size_t queue_depth,
                     bool by_slots) {
  const Rooms rooms = measure(units, mode);
  StorePlan plan;
  plan.pinned.assign(units.size(), 0);
  plan.slot_room = rooms.largest_cached;
  const auto n_cached = static_cast<uint64_t>(std::count_if(
      units.begin(), units.end(), [](const UnitSpec& u) { return is_kind(u, UnitKind::kCached); }));
  const uint64_t slots_for_all = round_up(n_cached * rooms.largest_cached, kPageBytes);
  const auto keep_whole_cache_in_slots = [&] {
    plan.n_slots = n_cached;
    plan.cache_room = slots_for_all;
    for (size_t u = 0; u < units.size(); ++u) {
      if (is_kind(units[u], UnitKind::kCached)) plan.pinned[u] = 0;
    }
  };

  if (rooms.all() <= weight_bytes) {
    plan.pinned.assign(units.size(), 1);
    plan.pinned_room = round_up(rooms.streamed + rooms.by_row + rooms.always, kPageBytes);
    plan.cache_room = round_up(rooms.cached, kPageBytes);
    plan.cache_is_whole = true;
    if (by_slots && plan.pinned_room + slots_for_all <= weight_bytes) keep_whole_cache_in_slots();
    return plan;
  }

  SLUICE_CHECK(least_total(rooms) <= weight_bytes);
  for (size_t u = 0; u < units.size(); ++u) {
    if (is_kind(units[u], UnitKind::kPinned)) pin(plan, rooms, u);
  }
  const uint64_t beyond_least = weight_bytes - least_total(rooms);
  plan.row_room = row_ring(rooms.row_of_by_row, beyond_least);
  const uint64_t slots_at_least = least_slots(rooms);
  const uint64_t dense = round_up(rooms.streamed + rooms.always, kPageBytes);
  if (dense + slots_at_least + plan.row_room <= weight_bytes) {
    for (size_t u = 0; u < units.size(); ++u) {
      if (is_kind(units[u], UnitKind::kStreamed)) pin(plan, rooms, u);
    }
    uint64_t spare = weight_bytes - dense - plan.row_room;
    if (round_up(rooms.cached, kPageBytes) <= spare) {
      plan.cache_is_whole = true;
      plan.cache_room = round_up(rooms.cached, kPageBytes);
      spare -= plan.cache_room;
      for (size_t u = 0; u < units.size(); ++u) {
        if (is_kind(units[u], UnitKind::kCached)) plan.pinned[u] = 1;
        // A page stays free for rounding up the arena.
        if (is_kind(units[u], UnitKind::kByRow) && rooms.unit[u] + kPageBytes <= spare) {
          pin(plan, rooms, u);
          spare -= rooms.unit[u];
        }
      }
    } else {
      plan.n_slots = round_down(spare, kPageBytes) / rooms.largest_cached;
    }
  } else {
    // The dense part is read in every pass. Below one pass's experts slots do not hit: a few are enough to
    // read one expert while another is computed.
    plan.row_room = row_ring(any_row(rooms), beyond_least);
    if (n_cached > 0) {
      const uint64_t least = rooms.n_parts;
      plan.n_slots = least + std::min({n_cached - least, (kSlotsBesideStream - 1) * least,
                                       beyond_least / 8 / rooms.largest_cached});
    }
    const uint64_t slots = round_up(plan.n_slots * rooms.largest_cached, kPageBytes);
    const uint64_t deep = 4 * queue_depth * kMaxReadBytes + rooms.largest_streamed;
    const uint64_t available = weight_bytes - plan.row_room - slots - round_up(rooms.always, kPageBytes);
    plan.stream_room =
        std::max(least_stream_ring(rooms), round_down(std::min(deep, available / 4), kPageBytes));
    SLUICE_CHECK(plan.stream_room <= available);
    pin_evenly(plan, units, rooms, rooms.always + round_down(available - plan.stream_room, kPageBytes));
  }
  plan.pinned_room = round_up(plan.pinned_room, kPageBytes);
  if (plan.n_slots > 0) plan.cache_room = round_up(plan.n_slots * rooms.largest_cached, kPageBytes);
  for (size_t u = 0; u < units.size(); ++u) {
    if (plan.pinned[u]) continue;
    plan.reread_bytes += rooms.unit[u];
    if (is_kind(units[u], UnitKind::kStreamed)) plan.streamed_bytes += rooms.unit[u];
  }
  // What is left over after whole units is room to read further ahead.
  if (plan.stream_room > 0) plan.stream_room += round_down(weight_bytes - plan.total(), kPageBytes);
  SLUICE_CHECK(plan.total() <= weight_bytes);
  return plan;
}

}  // namespace sluice
