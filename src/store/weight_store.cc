// The store's books: which unit is where, and leases on them. The caller's thread decides everything here but
// how many slots are in use, which is the governor's; one lock keeps them apart. ReadQueue's thread only
// reads.
#include "store/weight_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "encoding/woven.h"
#include "platform/clock.h"
#include "platform/drive_temperature.h"
#include "platform/memory_info.h"
#include "platform/page_prefaulter.h"
#include "store/layout.h"
#include "store/pacer.h"
#include "store/plan.h"
#include "store/read_queue.h"
#include "store/setup.h"
#include "store/slot_cache.h"
#include "store/stream_ring.h"
#include "store/task_profile.h"
#include "store/transfer.h"

namespace sluice {

// One range of a lease.
struct LeaseItem {
  Lease::State* lease = nullptr;
  uint32_t index = 0;
  UnitId unit = 0;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  Transfer* transfer = nullptr;      // nullptr: pinned
  const std::byte* base = nullptr;   // of a pinned unit
  LeaseItem* next_waiter = nullptr;  // of the transfer
  bool has_arrived = false;
  bool was_returned = false;  // by wait_any() or poll_any(), or released
  bool is_released = false;
};

struct Lease::State {
  WeightStore::Impl* store = nullptr;
  std::vector<LeaseItem> items;
  std::vector<uint32_t> arrived;  // indices, in order of arrival
  size_t n_taken = 0;             // of `arrived`
  size_t n_returned = 0;

  LeaseItem& at(size_t index) {
    SLUICE_CHECK(index < items.size(), "range %zu of %zu", index, items.size());
    return items[index];
  }
};

namespace {

std::vector<UnitId> streamed_units(std::span<const UnitSpec> units, const StorePlan& plan) {
  std::vector<UnitId> ids;
  for (size_t u = 0; u < units.size(); ++u) {
    if (units[u].kind == UnitKind::kStreamed && !plan.pinned[u]) ids.push_back(static_cast<UnitId>(u));
  }
  return ids;
}

std::unique_ptr<CachePolicy> make_policy(const StoreOptions& options) {
  return options.policy_factory ? options.policy_factory() : make_cache_policy(options.policy, options.split);
}

std::vector<uint32_t> groups_of(std::span<const UnitSpec> units) {
  std::vector<uint32_t> groups;
  for (const UnitSpec& unit : units) {
    groups.push_back(unit.kind == UnitKind::kCached ? unit.group : CacheGeometry::kNoGroup);
  }
  return groups;
}

// The first of the parts that each unit belongs to, and how many there are at most.
std::vector<UnitId> first_parts_of(std::span<const UnitSpec> units) {
  std::vector<UnitId> first;
  for (const UnitSpec& unit : units) first.push_back(static_cast<UnitId>(first.size()) - unit.part);
  return first;
}

size_t most_parts_of(std::span<const UnitSpec> units) {
  size_t most = 1;
  for (const UnitSpec& unit : units) most = std::max<size_t>(most, unit.n_parts);
  return most;
}

std::unique_ptr<AsyncReader> make_store_reader(const StoreOptions& options, size_t depth) {
  return options.reader_factory ? options.reader_factory(depth) : make_reader(depth);
}

size_t clamp_depth(size_t depth) { return std::clamp<size_t>(depth, 1, 256); }

// Memory of the account, given back at the end. One thread at a time.
class Reservation {
 public:
  Reservation(MemoryBudget& budget, uint64_t bytes) : budget_(budget), bytes_(bytes) {
    budget_.reserve(MemoryUse::kWeights, bytes_);
  }
  ~Reservation() { budget_.release(MemoryUse::kWeights, bytes_); }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  void shrink(uint64_t bytes) {
    bytes_ -= bytes;
    budget_.release(MemoryUse::kWeights, bytes);
  }
  bool try_grow(uint64_t bytes) {
    if (!budget_.try_reserve(MemoryUse::kWeights, bytes)) return false;
    bytes_ += bytes;
    return true;
  }

 private:
  MemoryBudget& budget_;
  uint64_t bytes_;
};

// What the governor leaves: one expert is read while another is computed, in two parts perhaps.
constexpr size_t kLeastSlots = 4;

}  // namespace

struct WeightStore::Impl {
  const std::vector<UnitSpec> units;
  const size_t depth;
  const bool wants_governor;
  MemoryBudget& budget;
  const uint64_t process_bytes;  // resident before there was anything of ours, without what is in the account
  Setup setup;
  Reservation reservation;  // the governor's once it runs, as is what follows
  std::atomic<uint64_t> cache_bytes;
  PageBuffer pinned_arena, cache_arena, stream_arena, row_arena;
  std::vector<Layout> layouts;          // [n_units]
  std::vector<const std::byte*> base;   // [n_units] of units that are pinned, once they are loaded
  std::vector<std::byte*> pinned_room;  // [n_units] where they go
  bool is_loaded = false;
  std::string why_not_locked;

  TransferPool pool;
  ReadQueue reads;
  SlotCache slots;
  StreamRing stream;
  RowRing rows;
  Pacer pacer;
  const bool has_woven;  // what is pinned, where it can be
  std::function<void(std::byte*, int64_t, uint64_t, Encoding)> weave;

  std::vector<float> rates;  // of former runs, or empty
  uint64_t load_bytes_read = 0, load_reads = 0;
  uint64_t warm_units = 0, warm_bytes = 0;
  uint64_t pinned_hits = 0;  // of cached units, where the whole cache is pinned
  uint64_t stall_ns = 0;
  uint32_t pass = 0;
  std::vector<UnitState> states;  // [n_units] all but is_here
  Timeline* timeline = nullptr;
  std::vector<Transfer*> ended;                      // scratch of settle()
  std::vector<Extent> row_extents;                   // scratch of lease_rows()
  std::vector<std::unique_ptr<Lease::State>> spare;  // lease states, for reuse

  // Held by whoever changes the books above. The caller waits for reads without it.
  mutable std::mutex books;
  const GovernorOptions governor_options;
  const std::function<std::unique_ptr<PressureSource>()> make_pressure;
  PagePrefaulter prefaulter;           // of cache_arena
  std::unique_ptr<Governor> governor;  // last: its thread uses all of the above

  Impl(const std::vector<std::string>& paths, std::vector<UnitSpec> specs, const StoreOptions& options,
       MemoryBudget& account)
      : units(std::move(specs)),
        depth(clamp_depth(options.queue_depth)),
        wants_governor(options.governor),
        budget(account),
        process_bytes(resident_bytes() - std::min(resident_bytes(), budget.total())),
        setup(set_up(paths, units, options, depth, budget)),
        reservation(budget, setup.plan.total()),
        cache_bytes(setup.plan.cache_room),
        pinned_arena(setup.plan.pinned_room),
        cache_arena(setup.plan.cache_room),
        stream_arena(setup.plan.stream_room),
        row_arena(setup.plan.row_room),
        layouts(units.size()),
        base(units.size(), nullptr),
        pinned_room(units.size(), nullptr),
        reads(setup.copies, make_store_reader(options, n_reads()), n_reads(),
              setup.copies.size() * depth * kMaxReadBytes, read_pace(options), read_memory()),
        slots(groups_of(units), first_parts_of(units), most_parts_of(units), cache_arena.data(),
              setup.plan.n_slots, setup.plan.slot_room, make_policy(options), pool, reads),
        stream(streamed_units(units, setup.plan), layouts, stream_arena.data(), stream_arena.size(), pool,
               reads),
        rows(row_arena.data(), row_arena.size(), pool, reads),
        pacer(options.max_slowdown, reads),
        has_woven(options.weave != nullptr),
        weave(options.weave),
        states(units.size()),
        governor_options(options.governor_options),
        make_pressure(options.pressure_factory) {
    timeline = options.timeline;
    reads.note_in(timeline);
    lock_memory();
    rates = options.unit_rates;
    SLUICE_CHECK(rates.empty() || rates.size() == units.size());
    if (!rates.empty()) slots.seed(rates);
    std::byte* pinned = pinned_arena.data();
    std::byte* cached = cache_arena.data();
    for (size_t u = 0; u < units.size(); ++u)
      lay_out(units[u].extents, mode_of(units[u], setup.mode), layouts[u]);
    for (const bool always : {false, true}) {  // these last: the others may be whole pages
      for (size_t u = 0; u < units.size(); ++u) {
        if (!setup.plan.pinned[u] || (units[u].kind == UnitKind::kPinned) != always) continue;
        std::byte*& next = units[u].kind == UnitKind::kCached ? cached : pinned;
        pinned_room[u] = next;
        next += layouts[u].room;
      }
    }
  }

  void lock_memory() {
    why_not_locked = why_not_lock(memory_info(), setup.plan.total());
    if (!why_not_locked.empty()) return;
    for (PageBuffer* arena : {&pinned_arena, &cache_arena, &stream_arena, &row_arena}) {
      if (arena->size() > 0 && !arena->lock())
        why_not_locked = "RLIMIT_MEMLOCK is too low: raise it with ulimit -l";
    }
  }

  // Every drive has a queue's worth.
  size_t n_reads() const { return setup.copies.size() * depth * kSmallReads; }

  // The rings alone: registered memory is pinned, and pinned slots could not be given back.
  std::vector<std::span<std::byte>> read_memory() const {
    std::vector<std::span<std::byte>> memory;
    for (const PageBuffer* arena : {&stream_arena, &row_arena}) {
      if (arena->size() > 0) memory.emplace_back(arena->data(), arena->size());
    }
    return memory;
  }

  ReadPace read_pace(const StoreOptions& options) const {
    ReadPace pace;
    pace.bytes_per_s = options.max_read_bytes_per_s;
    pace.max_celsius = options.max_drive_celsius;
    struct stat info;
    if (setup.files.empty() || ::fstat(setup.files[0]->descriptor(), &info) != 0) return pace;
    const DriveTemperature drive(info.st_dev);
    if (drive.is_shown()) pace.celsius = [drive] { return drive.celsius(); };
    return pace;
  }

  // --- reading ---

  // Takes note of reads that have ended; with `block` waits for one.
  void settle(bool block) {
    reads.take_ended(ended, block);
    for (Transfer* transfer : ended) {
      for (LeaseItem* item = std::exchange(transfer->first_waiter, nullptr); item != nullptr;
           item = item->next_waiter) {
        item->has_arrived = true;
        item->lease->arrived.push_back(item->index);
      }
      switch (transfer->place) {
        case Transfer::Place::kPinned:
          break;
        case Transfer::Place::kSlot:
          slots.on_ended(*transfer);
          break;
        case Transfer::Place::kStream:
          stream.on_ended(*transfer);
          break;
        case Transfer::Place::kRows:
          rows.on_ended(*transfer);
          break;
      }
    }
    reads.flush();
  }

  void wait_for_news(std::unique_lock<std::mutex>& lock) {
    SLUICE_CHECK(reads.n_reading() > 0,
                 "waits for a range that has no room before earlier ones are released");
    const uint64_t begin = monotonic_ns();
    lock.unlock();
    reads.wait_ended();
    lock.lock();
    settle(false);
    const uint64_t end = monotonic_ns();
    stall_ns += end - begin;
    if (timeline != nullptr) timeline->add(Timeline::Track::kWait, "waits", begin, end, 0);
  }

  [[noreturn]] void throw_failure(const Transfer& transfer) const {
    const ReadFailure& failure = transfer.failure;
    const File& file = *setup.files[failure.file];
    struct stat info;
    if (::fstat(file.descriptor(), &info) == 0 && static_cast<uint64_t>(info.st_size) < file.size()) {
      throw_error(ErrorKind::kCorrupt, "%s has shrunk from %" PRIu64 " to %" PRIu64 " bytes: fetch it again",
                  file.path().c_str(), file.size(), static_cast<uint64_t>(info.st_size));
    }
    throw_error(ErrorKind::kIo, "cannot read %s at byte %" PRIu64 " (weight unit %u): %s",
                file.path().c_str(), failure.offset, transfer.unit, std::strerror(failure.error));
  }

  // --- leases ---

  std::unique_ptr<Lease::State> take_state() {
    if (spare.empty()) {
      spare.push_back(std::make_unique<Lease::State>());
      spare.back()->store = this;
    }
    auto state = std::move(spare.back());
    spare.pop_back();
    return state;
  }

  void retire(std::unique_ptr<Lease::State> state) {
    for (LeaseItem& item : state->items) release(item);
    state->items.clear();
    state->arrived.clear();
    state->n_taken = state->n_returned = 0;
    spare.push_back(std::move(state));
  }

  void hold(LeaseItem& item, Transfer& transfer) {
    item.transfer = &transfer;
    if (transfer.state == Transfer::State::kArrived) {
      arrive(item);
    } else {
      item.next_waiter = std::exchange(transfer.first_waiter, &item);
    }
  }

  void arrive(LeaseItem& item) {
    item.has_arrived = true;
    item.lease->arrived.push_back(item.index);
  }

  void release(LeaseItem& item) noexcept {
    if (item.is_released) return;
    item.is_released = true;
    if (!item.was_returned) ++item.lease->n_returned;
    item.was_returned = true;
    if (item.transfer == nullptr) return;
    Transfer& transfer = *item.transfer;
    if (!item.has_arrived) {
      LeaseItem** link = &transfer.first_waiter;
      while (*link != &item) link = &(*link)->next_waiter;
      *link = item.next_waiter;
    }
    switch (transfer.place) {
      case Transfer::Place::kPinned:
        break;
      case Transfer::Place::kSlot:
        slots.release(transfer);
        break;
      case Transfer::Place::kStream:
        stream.release(transfer);
        break;
      case Transfer::Place::kRows:
        rows.release(transfer);
        break;
    }
    reads.flush();
  }

  void lease_rows(LeaseItem& item) {
    const UnitSpec& unit = units[item.unit];
    const auto begin = static_cast<uint64_t>(item.row_begin);
    const auto n = static_cast<uint64_t>(item.row_end - item.row_begin);
    row_extents.clear();
    for (const Extent& extent : unit.extents) {
      const uint64_t stride = extent.bytes / static_cast<uint64_t>(unit.rows);
      row_extents.push_back({extent.file, extent.offset + begin * stride, n * stride});
    }
    Transfer* const transfer = rows.lease(item.unit, row_extents, setup.mode);
    if (transfer == nullptr) {
      throw_error(ErrorKind::kNoMemory,
                  "rows %" PRId64 " to %" PRId64
                  " of weight unit %u do not fit in the %s kept for rows: ask for fewer",
                  item.row_begin, item.row_end, item.unit, format_bytes(rows.bytes()).c_str());
    }
    hold(item, *transfer);
  }

  bool is_whole(const LeaseItem& item) const {
    return item.row_begin == 0 && item.row_end == units[item.unit].rows;
  }

  // Whether a unit that is not pinned is read for one lease alone.
  bool is_by_row(const LeaseItem& item) const {
    const UnitKind kind = units[item.unit].kind;
    return kind == UnitKind::kByRow || (kind == UnitKind::kStreamed && !is_whole(item));
  }

  void count_use(UnitId unit, bool is_miss) {
    UnitState& state = states[unit];
    state.last_pass = pass;
    ++state.n_asked;
    state.n_missed += is_miss;
    state.was_missed = is_miss;
  }

  void acquire(std::span<const UnitRange> ranges, Lease::State& state) {
    SLUICE_CHECK(is_loaded, "acquire() before load()");
    // Not before everything is in its place: leases point to items.
    state.items.resize(ranges.size());
    bool all_pinned = true;
    for (size_t i = 0; i < ranges.size(); ++i) {
      const UnitRange& range = ranges[i];
      SLUICE_CHECK(range.unit < units.size(), "unit %u", range.unit);
      LeaseItem& item = state.items[i];
      item.lease = &state;
      item.index = static_cast<uint32_t>(i);
      item.unit = range.unit;
      item.row_begin = range.row_begin;
      item.row_end = range.row_end < 0 ? units[range.unit].rows : range.row_end;
      SLUICE_CHECK(
          0 <= item.row_begin && item.row_begin < item.row_end && item.row_end <= units[range.unit].rows,
          "rows %" PRId64 " to %" PRId64 " of unit %u", item.row_begin, item.row_end, item.unit);
      if (base[item.unit] != nullptr) {
        item.base = base[item.unit];
        pinned_hits += units[item.unit].kind == UnitKind::kCached;
        count_use(item.unit, false);
        arrive(item);
      } else {
        all_pinned = false;
      }
    }
    if (!all_pinned) acquire_unpinned(state);
    reads.flush();
  }

  void acquire_unpinned(Lease::State& state) {
    // Rows first: they alone can fail here.
    for (LeaseItem& item : state.items) {
      if (item.base == nullptr && is_by_row(item)) lease_rows(item);
    }
    rows.start();
    keep_hits(state);
    bool has_streamed = false;
    for (LeaseItem& item : state.items) {
      if (item.base != nullptr || is_by_row(item)) continue;
      if (units[item.unit].kind == UnitKind::kCached) {
        const uint64_t n_missed = slots.misses();
        hold(item, slots.lease(item.unit, layouts[item.unit]));
        count_use(item.unit, slots.misses() > n_missed);
      } else {
        count_use(item.unit, false);
        hold(item, stream.lease(item.unit));
        has_streamed = true;
      }
    }
    if (has_streamed) stream.catch_up();
  }

  void hold_arrived(std::vector<UnitRange>& ranges, Lease::State& state) {
    std::erase_if(ranges, [this](const UnitRange& range) {
      SLUICE_DCHECK(range.unit < units.size() && units[range.unit].kind == UnitKind::kCached);
      return base[range.unit] == nullptr && slots.presence(range.unit) != Presence::kHere;
    });
    state.items.resize(ranges.size());
    for (size_t i = 0; i < ranges.size(); ++i) {
      LeaseItem& item = state.items[i];
      item = {.lease = &state, .index = static_cast<uint32_t>(i), .unit = ranges[i].unit};
      item.row_end = units[item.unit].rows;
      item.base = base[item.unit];
      if (item.base == nullptr) item.transfer = &slots.hold(item.unit);
      arrive(item);
    }
  }

  void keep_hits(const Lease::State& state) {
    const auto is_cached = [this](const LeaseItem& item) {
      return item.base == nullptr && units[item.unit].kind == UnitKind::kCached;
    };
    bool some_are_missing = false;
    std::optional<UnitId> first;
    for (const LeaseItem& item : state.items) {
      if (!is_cached(item)) continue;
      if (!first) first = item.unit;
      SLUICE_CHECK(is_whole(item), "rows of cached unit %u", item.unit);
      some_are_missing |= !slots.holds(item.unit);
    }
    if (!first) return;
    slots.begin_acquire(*first, some_are_missing);
    for (const LeaseItem& item : state.items) {
      if (is_cached(item) && slots.holds(item.unit)) slots.keep(item.unit);
    }
  }

  void check_delivered(const LeaseItem& item) const {
    if (item.transfer != nullptr && item.transfer->state == Transfer::State::kFailed) {
      throw_failure(*item.transfer);
    }
  }

  std::optional<size_t> next_arrived(Lease::State& state, bool block) {
    std::unique_lock lock(books);
    while (state.n_returned < state.items.size()) {
      while (state.n_taken < state.arrived.size()) {
        LeaseItem& item = state.items[state.arrived[state.n_taken++]];
        if (item.was_returned) continue;
        item.was_returned = true;
        ++state.n_returned;
        check_delivered(item);
        return item.index;
      }
      if (state.n_returned == state.items.size()) break;
      settle(false);
      if (state.n_taken < state.arrived.size()) continue;
      if (!block) break;
      wait_for_news(lock);
    }
    return std::nullopt;
  }

  // --- memory that others need ---

  void start_governor() {
    const uint64_t slot = setup.plan.slot_room;
    if (!wants_governor || setup.plan.n_slots <= kLeastSlots) return;
    Governor::Cache cache;
    cache.least = kLeastSlots * slot;
    cache.full = cache_bytes;
    cache.fixed = [this] { return process_bytes + budget.total() - cache_bytes; };
    cache.resize = [this](uint64_t target) { return resize_cache(target); };
    governor = std::make_unique<Governor>(
        governor_options, make_pressure ? make_pressure() : make_pressure_source(), std::move(cache));
  }

  // The governor's thread: the slots' memory leaves the process before it is given back to the account, and
  // the account grants it before it is touched again.
  uint64_t resize_cache(uint64_t target) {
    const uint64_t slot = setup.plan.slot_room;
    const size_t n_slots = std::min<size_t>(target / slot, setup.plan.n_slots);
    const uint64_t before = cache_bytes;
    const auto bytes_of = [&](size_t n) {
      return n == setup.plan.n_slots ? setup.plan.cache_room : n * slot;
    };
    if (bytes_of(n_slots) == before) return before;
    if (n_slots > slots.n_usable()) {
      // Not before all slots that went out of use are empty, so that the account knows what there is.
      if (before != bytes_of(slots.n_usable()) || !reservation.try_grow(bytes_of(n_slots) - before))
        return before;
      cache_bytes = bytes_of(n_slots);
    }
    size_t n_left;
    std::vector<std::pair<size_t, size_t>> empty;
    {
      const std::lock_guard lock(books);
      slots.resize(n_slots);
      n_left = slots.n_filled_or_usable();
      slots.for_each_run_out_of_use([&](size_t begin, size_t end) { empty.emplace_back(begin, end); });
    }
    // Nobody touches these slots now, and nobody but this thread can put them into use again.
    if (!empty.empty()) prefaulter.stop();
    for (const auto& [begin, end] : empty) {
      cache_arena.give_back(begin * slot, end == setup.plan.n_slots ? cache_arena.size() : end * slot);
    }
    if (bytes_of(n_left) < before) {
      reservation.shrink(before - bytes_of(n_left));
      cache_bytes = bytes_of(n_left);
    }
    return cache_bytes;
  }

  // --- loading ---

  // The planes of what has been read to stay: not under the lock, for nobody holds a lease yet.
  void weave_planes(const Transfer& transfer) {
    const std::vector<Extent>& extents = units[transfer.unit].extents;
    for (size_t i = 0; i < extents.size(); ++i) {
      if (extents[i].row_bytes == 0) continue;
      weave(transfer.base + transfer.layout->extent_at[i],
            static_cast<int64_t>(extents[i].bytes / extents[i].row_bytes), extents[i].row_bytes,
            extents[i].encoding);
    }
  }

  bool has_whole_cache_in_slots() const { return setup.plan.cache_is_whole && setup.plan.n_slots > 0; }

  // Slots for the units that former runs used most, the hottest last, as if it had been used last. [n_units],
  // nullptr for the others.
  std::vector<Transfer*> fill_warm_slots() {
    std::vector<Transfer*> warm(units.size(), nullptr);
    if (setup.plan.n_slots == 0 || has_whole_cache_in_slots()) return warm;
    const std::vector<UnitId> hottest = hottest_units(rates, setup.plan.n_slots);
    for (size_t i = hottest.size(); i-- > 0;) {
      const UnitId u = hottest[i];
      SLUICE_CHECK(units[u].kind == UnitKind::kCached, "unit %u", u);
      if (!slots.holds(u)) warm[u] = &slots.fill(u, layouts[u]);
    }
    return warm;
  }

  void count_warm() {
    for (UnitId u = 0; u < units.size(); ++u) {
      if (units[u].kind != UnitKind::kCached || !slots.holds(u)) continue;
      ++warm_units;
      warm_bytes += layouts[u].room;
    }
  }

  void load(const std::function<void(uint64_t, uint64_t)>& progress) {
    if (is_loaded) return;
    std::vector<UnitId> order;  // as on disk
    uint64_t total = 0;
    std::vector<Transfer*> warm = fill_warm_slots();
    for (size_t u = 0; u < units.size(); ++u) {
      const bool goes_to_slot = has_whole_cache_in_slots() && units[u].kind == UnitKind::kCached;
      if (warm[u] == nullptr && (goes_to_slot ? slots.holds(static_cast<UnitId>(u))
                                              : pinned_room[u] == nullptr || base[u] != nullptr))
        continue;
      order.push_back(static_cast<UnitId>(u));
      total += layouts[u].room;
    }
    const auto place = [this](UnitId u) {
      return std::pair(layouts[u].segments[0].file, layouts[u].segments[0].offset);
    };
    std::sort(order.begin(), order.end(), [&](UnitId a, UnitId b) { return place(a) < place(b); });

    std::vector<Transfer*> loading;
    const auto give_up = [&] {
      for (Transfer* transfer : loading) {
        if (transfer->state == Transfer::State::kReading) reads.cancel(*transfer);
      }
      while (reads.n_reading() > 0) settle(true);
      for (Transfer* transfer : loading) {
        if (transfer->place == Transfer::Place::kSlot) {
          slots.take_back(*transfer);
        } else {
          pool.give_back(transfer);
        }
      }
      for (Transfer* transfer : warm) {
        if (transfer != nullptr) slots.take_back(*transfer);
      }
    };
    try {
      uint64_t done = 0;
      if (progress) progress(0, total);
      for (size_t next = 0; next < order.size() || !loading.empty();) {
        while (next < order.size() && reads.n_reading() < 2 * depth) {
          const UnitId u = order[next++];
          if (warm[u] != nullptr) {
            loading.push_back(std::exchange(warm[u], nullptr));
          } else if (pinned_room[u] == nullptr) {
            loading.push_back(&slots.fill(u, layouts[u]));
          } else {
            loading.push_back(pool.take(u, Transfer::Place::kPinned, &layouts[u]));
            loading.back()->base = pinned_room[u];
          }
          reads.stage(*loading.back(), Priority::kDemand);
        }
        settle(true);
        for (Transfer* transfer : ended) {
          if (transfer->state == Transfer::State::kFailed) throw_failure(*transfer);
          done += transfer->layout->room;
          const bool stays = transfer->place == Transfer::Place::kPinned || has_whole_cache_in_slots();
          if (has_woven && stays) {
            weave_planes(*transfer);
            transfer->is_woven = true;
          }
          loading.erase(std::find(loading.begin(), loading.end(), transfer));
          if (transfer->place == Transfer::Place::kSlot) continue;
          base[transfer->unit] = transfer->base;
          pool.give_back(transfer);
        }
        if (progress) progress(done, total);
      }
    } catch (...) {
      give_up();
      throw;
    }
    is_loaded = true;
    weave = nullptr;
    if (!rates.empty() && !has_whole_cache_in_slots()) count_warm();
    rates = {};
    if (has_whole_cache_in_slots()) {
      slots.set_whole();
    } else if (setup.plan.n_slots > 0) {
      prefaulter.start(cache_arena);
    }
    load_bytes_read = reads.bytes_read();
    load_reads = reads.reads();
    stream.read_ahead();
    reads.flush();
    start_governor();
  }
};

Lease::Lease(std::unique_ptr<State> state) : state_(std::move(state)) {}
Lease::Lease() noexcept = default;
Lease::Lease(Lease&& other) noexcept = default;

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Lease::~Lease() {
  if (state_ == nullptr) return;
  WeightStore::Impl& store = *state_->store;
  const std::lock_guard lock(store.books);
  store.retire(std::move(state_));
}

size_t Lease::size() const noexcept { return state_ == nullptr ? 0 : state_->items.size(); }

void Lease::wait(size_t index) {
  LeaseItem& item = state_->at(index);
  SLUICE_CHECK(!item.is_released, "range %zu was released", index);
  std::unique_lock lock(state_->store->books);
  if (!item.has_arrived) state_->store->settle(false);
  while (!item.has_arrived) state_->store->wait_for_news(lock);
  state_->store->check_delivered(item);
}

std::optional<size_t> Lease::wait_any() {
  if (state_ == nullptr) return std::nullopt;
  return state_->store->next_arrived(*state_, true);
}

std::optional<size_t> Lease::poll_any() {
  if (state_ == nullptr) return std::nullopt;
  return state_->store->next_arrived(*state_, false);
}

WeightView Lease::view(size_t index, const WeightRef& ref) const {
  const LeaseItem& item = state_->at(index);
  const UnitSpec& unit = state_->store->units[item.unit];
  const size_t n_planes = plane_count(ref.encoding);
  SLUICE_CHECK(item.has_arrived && !item.is_released && item.unit == ref.unit && ref.rows > 0 &&
                   ref.first_extent + n_planes <= unit.extents.size(),
               "unit %u, range %zu", ref.unit, index);
  const bool is_whole = state_->store->is_whole(item);
  SLUICE_CHECK(is_whole || ref.rows == unit.rows, "rows of unit %u", ref.unit);

  // Rows that were read for themselves lie at the start of their room; a pinned unit has all of them.
  const bool has_all_rows = item.transfer == nullptr;
  const bool is_woven = unit.extents[ref.first_extent].row_bytes > 0 &&
                        (has_all_rows ? state_->store->has_woven : item.transfer->is_woven);
  const std::byte* base = has_all_rows ? item.base : item.transfer->base;
  const Layout& layout = has_all_rows ? state_->store->layouts[item.unit] : *item.transfer->layout;
  WeightView view;
  view.encoding = ref.encoding;
  view.params = ref.params;
  view.rows = is_whole ? ref.rows : item.row_end - item.row_begin;
  view.cols = ref.cols;
  for (size_t p = 0; p < n_planes; ++p) {
    const size_t extent = ref.first_extent + p;
    view.stride[p] = unit.extents[extent].bytes / static_cast<uint64_t>(ref.rows);
    view.plane[p] = base + layout.extent_at[extent];
    if (has_all_rows && !is_woven) view.plane[p] += static_cast<uint64_t>(item.row_begin) * view.stride[p];
  }
  if (is_woven) {
    view.woven_rows = weavable_rows(ref.rows, view.stride[0]);
    view.first_row = item.row_begin;
  }
  return view;
}

void Lease::release(size_t index) noexcept {
  const std::lock_guard lock(state_->store->books);
  state_->store->release(state_->at(index));
}

WeightStore::WeightStore(const std::vector<std::string>& files, std::vector<UnitSpec> units,
                         const StoreOptions& options, MemoryBudget& budget)
    : impl_(std::make_unique<Impl>(files, std::move(units), options, budget)) {}

WeightStore::~WeightStore() = default;

void WeightStore::load(const std::function<void(uint64_t done, uint64_t total)>& progress) {
  impl_->load(progress);
}

Lease WeightStore::acquire(std::span<const UnitRange> ranges) {
  Lease lease;  // releases what it has if the rest fails
  const std::lock_guard lock(impl_->books);
  lease.state_ = impl_->take_state();
  impl_->acquire(ranges, *lease.state_);
  return lease;
}

Lease WeightStore::hold(std::vector<UnitRange>& ranges) {
  Lease lease;
  const std::lock_guard lock(impl_->books);
  lease.state_ = impl_->take_state();
  impl_->hold_arrived(ranges, *lease.state_);
  return lease;
}

size_t WeightStore::prefetch(std::span<const UnitRange> ranges, bool are_guesses) noexcept {
  Impl& store = *impl_;
  if (!store.is_loaded || !has_slots()) return ranges.size();
  if (store.reads.demand_is_waiting()) return 0;
  const std::lock_guard lock(store.books);
  const Priority priority = are_guesses ? Priority::kPrefetch : Priority::kAhead;
  size_t n = 0;
  for (; n < ranges.size(); ++n) {
    const UnitId unit = ranges[n].unit;
    SLUICE_DCHECK(unit < store.units.size() && store.units[unit].kind == UnitKind::kCached);
    if (!store.slots.prefetch(unit, store.layouts[unit], priority)) break;
  }
  store.reads.flush();
  return n;
}

void WeightStore::cancel_prefetches(std::span<const UnitRange> wanted) noexcept {
  const std::lock_guard lock(impl_->books);
  impl_->slots.cancel_prefetches([wanted](UnitId unit) {
    return std::any_of(wanted.begin(), wanted.end(), [unit](const UnitRange& r) { return r.unit == unit; });
  });
}

bool WeightStore::is_pinned(UnitId unit) const noexcept { return impl_->base[unit] != nullptr; }

bool WeightStore::holds(UnitId unit) const noexcept {
  if (is_pinned(unit)) return true;
  const std::lock_guard lock(impl_->books);
  return impl_->slots.holds(unit);
}

bool WeightStore::has_slots() const noexcept {
  const std::lock_guard lock(impl_->books);
  return impl_->setup.plan.n_slots > 0 && !impl_->slots.is_whole();
}

Presence WeightStore::presence(UnitId unit) {
  if (is_pinned(unit)) return Presence::kHere;
  const std::lock_guard lock(impl_->books);
  impl_->settle(false);
  return impl_->slots.presence(unit);
}

void WeightStore::expect(std::span<const Expectation> expected) noexcept {
  const std::lock_guard lock(impl_->books);
  if (impl_->setup.plan.n_slots > 0) impl_->slots.expect(expected);
}

StoreStats WeightStore::stats() const {
  const Impl& store = *impl_;
  const std::lock_guard lock(store.books);
  StoreStats stats = store.setup.plan.gauges();
  stats.cache_bytes = store.cache_bytes;
  if (store.governor) stats.governor = store.governor->stats();
  stats.load_bytes_read = store.is_loaded ? store.load_bytes_read : store.reads.bytes_read();
  stats.bytes_read = store.reads.bytes_read() - stats.load_bytes_read;
  stats.reads = store.is_loaded ? store.reads.reads() - store.load_reads : 0;
  stats.hits = store.pinned_hits + store.slots.hits();
  stats.misses = store.slots.misses();
  stats.evictions = store.slots.evictions();
  stats.warm_units = store.warm_units;
  stats.warm_bytes = store.warm_bytes;
  stats.wasted_bytes = store.slots.wasted_bytes() + store.stream.wasted_bytes();
  stats.prefetched_bytes = store.slots.prefetched_bytes();
  stats.useful_prefetched_bytes = store.slots.useful_prefetched_bytes();
  stats.stall_ns = store.stall_ns;
  stats.pace = store.pacer.report();
  return stats;
}

void WeightStore::begin_pass(bool is_measured) noexcept {
  const std::lock_guard lock(impl_->books);
  ++impl_->pass;
  impl_->pacer.begin_pass(is_measured, monotonic_ns(), impl_->stall_ns);
}

void WeightStore::end_measured_pass(uint64_t kernel_ns, uint64_t calm_ns) noexcept {
  const std::lock_guard lock(impl_->books);
  impl_->pacer.end_pass(monotonic_ns(), impl_->stall_ns, kernel_ns, calm_ns);
}

bool WeightStore::wants_measured_passes() const noexcept { return impl_->pacer.is_on(); }

std::optional<uint64_t> WeightStore::reads_if_idle() const noexcept {
  if (!impl_->reads.is_idle()) return std::nullopt;
  return impl_->reads.reads();
}

uint64_t WeightStore::stall_ns() const noexcept { return impl_->stall_ns; }
uint64_t WeightStore::bytes_read() const noexcept { return impl_->reads.bytes_read(); }
bool WeightStore::reads_past_page_cache() const noexcept { return impl_->setup.mode == IoMode::kDirect; }

uint32_t WeightStore::look(std::vector<UnitState>& units) const {
  const Impl& store = *impl_;
  const std::lock_guard lock(store.books);
  units = store.states;
  for (size_t u = 0; u < units.size(); ++u) {
    const auto unit = static_cast<UnitId>(u);
    units[u].is_here = store.base[u] != nullptr || store.slots.holds(unit);
  }
  store.stream.for_each_present([&units](UnitId unit) { units[unit].is_here = true; });
  return store.pass;
}

std::string WeightStore::describe_io() const {
  std::string pace;
  {
    const std::lock_guard lock(impl_->books);
    pace = impl_->pacer.describe();
  }
  return format_string("%s, %s, depth %zu (%s)%s%s", impl_->reads.reader_name(),
                       impl_->setup.mode == IoMode::kDirect ? "O_DIRECT" : "buffered", impl_->depth,
                       impl_->setup.why.c_str(), impl_->reads.describe().c_str(), pace.c_str());
}

std::string WeightStore::describe_memory() const {
  return format_bytes(huge_page_bytes()) + " on huge pages; " +
         (impl_->why_not_locked.empty() ? "locked in memory"
                                        : "not locked in memory: " + impl_->why_not_locked);
}

std::string WeightStore::describe_governor() const {
  if (impl_->governor) return "watches " + impl_->governor->describe();
  if (!impl_->wants_governor) return "off";
  return impl_->is_loaded ? "nothing to give back: no weights are cached in slots" : "not started";
}

}  // namespace sluice
