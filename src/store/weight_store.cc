// The store's books: which unit is where, and leases on them. The caller's thread decides everything here;
// ReadQueue's thread only reads.
#include "store/weight_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "platform/clock.h"
#include "platform/memory_info.h"
#include "store/layout.h"
#include "store/plan.h"
#include "store/read_queue.h"
#include "store/setup.h"
#include "store/slot_cache.h"
#include "store/stream_ring.h"
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

std::unique_ptr<AsyncReader> make_store_reader(const StoreOptions& options, size_t depth) {
  return options.reader_factory ? options.reader_factory(depth) : make_reader(depth);
}

size_t clamp_depth(size_t depth) { return std::clamp<size_t>(depth, 1, 256); }

// Memory of the account, given back at the end.
class Reservation {
 public:
  Reservation(MemoryBudget& budget, uint64_t bytes) : budget_(budget), bytes_(bytes) {
    budget_.reserve(MemoryUse::kWeights, bytes_);
  }
  ~Reservation() { budget_.release(MemoryUse::kWeights, bytes_); }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

 private:
  MemoryBudget& budget_;
  const uint64_t bytes_;
};

}  // namespace

struct WeightStore::Impl {
  const std::vector<UnitSpec> units;
  const size_t depth;
  Setup setup;
  const Reservation reservation;
  PageBuffer pinned_arena, cache_arena, stream_arena, row_arena;
  std::vector<Layout> layouts;          // [n_units]
  std::vector<const std::byte*> base;   // [n_units] of units that are pinned, once they are loaded
  std::vector<std::byte*> pinned_room;  // [n_units] where they go
  bool is_loaded = false;

  TransferPool pool;
  ReadQueue reads;
  SlotCache slots;
  StreamRing stream;
  RowRing rows;

  uint64_t load_bytes_read = 0, load_reads = 0;
  uint64_t pinned_hits = 0;  // of cached units, where the whole cache is pinned
  uint64_t stall_ns = 0;
  std::vector<Transfer*> ended;                      // scratch of settle()
  std::vector<Extent> row_extents;                   // scratch of lease_rows()
  std::vector<std::unique_ptr<Lease::State>> spare;  // lease states, for reuse

  Impl(const std::vector<std::string>& paths, std::vector<UnitSpec> specs, const StoreOptions& options,
       MemoryBudget& budget)
      : units(std::move(specs)),
        depth(clamp_depth(options.queue_depth)),
        setup(set_up(paths, units, options, depth, budget)),
        reservation(budget, setup.plan.total()),
        pinned_arena(setup.plan.pinned_room),
        cache_arena(setup.plan.cache_room),
        stream_arena(setup.plan.stream_room),
        row_arena(setup.plan.row_room),
        layouts(units.size()),
        base(units.size(), nullptr),
        pinned_room(units.size(), nullptr),
        reads(setup.files, make_store_reader(options, depth * kSmallReads), depth * kSmallReads,
              depth * kMaxReadBytes),
        slots(groups_of(units), cache_arena.data(), setup.plan.n_slots, setup.plan.slot_room,
              make_policy(options), pool, reads),
        stream(streamed_units(units, setup.plan), layouts, stream_arena.data(), stream_arena.size(), pool,
               reads),
        rows(row_arena.data(), row_arena.size(), pool, reads) {
    std::byte* pinned = pinned_arena.data();
    std::byte* cached = cache_arena.data();
    for (size_t u = 0; u < units.size(); ++u) {
      lay_out(units[u].extents, setup.mode, layouts[u]);
      if (!setup.plan.pinned[u]) continue;
      std::byte*& next = units[u].kind == UnitKind::kCached ? cached : pinned;
      pinned_room[u] = next;
      next += layouts[u].room;
    }
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

  void wait_for_news() {
    SLUICE_CHECK(reads.n_reading() > 0,
                 "waits for a range that has no room before earlier ones are released");
    const uint64_t begin = monotonic_ns();
    settle(true);
    stall_ns += monotonic_ns() - begin;
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
        hold(item, slots.lease(item.unit, layouts[item.unit]));
      } else {
        hold(item, stream.lease(item.unit));
        has_streamed = true;
      }
    }
    if (has_streamed) stream.catch_up();
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
      wait_for_news();
    }
    return std::nullopt;
  }

  // --- loading ---

  void load(const std::function<void(uint64_t, uint64_t)>& progress) {
    if (is_loaded) return;
    std::vector<UnitId> order;  // as on disk
    uint64_t total = 0;
    for (size_t u = 0; u < units.size(); ++u) {
      if (pinned_room[u] == nullptr || base[u] != nullptr) continue;
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
      for (Transfer* transfer : loading) pool.give_back(transfer);
    };
    try {
      uint64_t done = 0;
      if (progress) progress(0, total);
      for (size_t next = 0; next < order.size() || !loading.empty();) {
        while (next < order.size() && reads.n_reading() < 2 * depth) {
          const UnitId u = order[next++];
          loading.push_back(pool.take(u, Transfer::Place::kPinned, &layouts[u]));
          loading.back()->base = pinned_room[u];
          reads.stage(*loading.back(), Priority::kDemand);
        }
        settle(true);
        for (Transfer* transfer : ended) {
          if (transfer->state == Transfer::State::kFailed) throw_failure(*transfer);
          base[transfer->unit] = transfer->base;
          done += transfer->layout->room;
          loading.erase(std::find(loading.begin(), loading.end(), transfer));
          pool.give_back(transfer);
        }
        if (progress) progress(done, total);
      }
    } catch (...) {
      give_up();
      throw;
    }
    is_loaded = true;
    load_bytes_read = reads.bytes_read();
    load_reads = reads.reads();
    stream.read_ahead();
    reads.flush();
  }
};

Lease::Lease(std::unique_ptr<State> state) : state_(std::move(state)) {}
Lease::Lease(Lease&& other) noexcept = default;

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Lease::~Lease() {
  if (state_ == nullptr) return;
  WeightStore::Impl& store = *state_->store;
  store.retire(std::move(state_));
}

size_t Lease::size() const noexcept { return state_ == nullptr ? 0 : state_->items.size(); }

void Lease::wait(size_t index) {
  LeaseItem& item = state_->at(index);
  SLUICE_CHECK(!item.is_released, "range %zu was released", index);
  if (!item.has_arrived) state_->store->settle(false);
  while (!item.has_arrived) state_->store->wait_for_news();
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
    if (has_all_rows) view.plane[p] += static_cast<uint64_t>(item.row_begin) * view.stride[p];
  }
  return view;
}

void Lease::release(size_t index) noexcept { state_->store->release(state_->at(index)); }

WeightStore::WeightStore(const std::vector<std::string>& files, std::vector<UnitSpec> units,
                         const StoreOptions& options, MemoryBudget& budget)
    : impl_(std::make_unique<Impl>(files, std::move(units), options, budget)) {}

WeightStore::~WeightStore() = default;

void WeightStore::load(const std::function<void(uint64_t done, uint64_t total)>& progress) {
  impl_->load(progress);
}

Lease WeightStore::acquire(std::span<const UnitRange> ranges) {
  Lease lease(impl_->take_state());  // releases what it has if the rest fails
  impl_->acquire(ranges, *lease.state_);
  return lease;
}

void WeightStore::prefetch(std::span<const UnitRange> ranges) noexcept {
  if (!impl_->is_loaded || impl_->setup.plan.n_slots == 0 || impl_->reads.demand_is_waiting()) return;
  for (const UnitRange& range : ranges) {
    const bool is_cached =
        range.unit < impl_->units.size() && impl_->units[range.unit].kind == UnitKind::kCached;
    if (!is_cached || impl_->slots.holds(range.unit)) continue;
    if (!impl_->slots.prefetch(range.unit, impl_->layouts[range.unit])) break;
  }
  impl_->reads.flush();
}

void WeightStore::expect(std::span<const Expectation> expected) noexcept {
  if (impl_->setup.plan.n_slots > 0) impl_->slots.expect(expected);
}

StoreStats WeightStore::stats() const {
  const Impl& store = *impl_;
  StoreStats stats = store.setup.plan.gauges();
  stats.load_bytes_read = store.is_loaded ? store.load_bytes_read : store.reads.bytes_read();
  stats.bytes_read = store.reads.bytes_read() - stats.load_bytes_read;
  stats.reads = store.is_loaded ? store.reads.reads() - store.load_reads : 0;
  stats.hits = store.pinned_hits + store.slots.hits();
  stats.misses = store.slots.misses();
  stats.evictions = store.slots.evictions();
  stats.wasted_bytes = store.slots.wasted_bytes() + store.stream.wasted_bytes();
  stats.stall_ns = store.stall_ns;
  return stats;
}

std::string WeightStore::describe_io() const {
  return format_string("%s, %s, depth %zu (%s)", impl_->reads.reader_name(),
                       impl_->setup.mode == IoMode::kDirect ? "O_DIRECT" : "buffered", impl_->depth,
                       impl_->setup.why.c_str());
}

}  // namespace sluice
