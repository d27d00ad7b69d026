// Where weights live. The model names units of bytes; the store decides which of them stay in memory, reads
// the others ahead or on demand, and hands them out on leases. It knows nothing of layers or shapes, and the
// model knows nothing of slots: the same output comes out of every budget.
//
// A unit is what moves as one: a tensor's block of rows, or one expert (gate, up and down with their scales).
// It is a list of extents of files; the order of the unit ids is the canonical order of access in a forward
// pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "encoding/encoding.h"
#include "platform/async_reader.h"
#include "platform/memory_budget.h"
#include "platform/timeline.h"
#include "store/cache_policy.h"
#include "store/governor.h"
#include "store/pace_controller.h"

namespace sluice {

struct Extent {
  uint32_t file = 0;  // index into the store's files
  uint64_t offset = 0;
  uint64_t bytes = 0;
  // Of a weight's plane that may be woven; 0: it stays as it is.
  uint64_t row_bytes = 0;
  Encoding encoding = Encoding::kF32;  // of that weight
};

enum class UnitKind : uint8_t {
  kStreamed,  // wanted in every pass, in order of ids: pinned as far as memory goes, the rest read ahead
  kCached,    // wanted when it is wanted (an expert): kept in slots under a policy
  kByRow,     // wanted a few rows at a time (an embedding): pinned if there is room, else read by row
  kPinned,    // worth having only in memory: part of the least that a store needs
};

// Of a unit: not in memory, being read, or there so that a lease would not wait.
enum class Presence : uint8_t { kAbsent, kComing, kHere };

struct UnitSpec {
  UnitKind kind = UnitKind::kStreamed;
  std::vector<Extent> extents;
  int64_t rows = 1;    // every extent is this many equal rows
  uint32_t group = 0;  // of a kCached unit: ascends through a pass; for the cache's policy
  // Of a kCached unit: it is part `part` of `n_parts` neighbours. Acquired one after another they never wait
  // for each other's release, so that all of them can be held at once.
  uint16_t part = 0;
  uint16_t n_parts = 1;
};

// A weight, or a block of its rows, without a pointer: planes are consecutive extents of one unit.
struct WeightRef {
  UnitId unit = 0;
  uint8_t first_extent = 0;
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  int64_t rows = 0;
  int64_t cols = 0;
};

// Whole units, or rows [row_begin, row_end) of one.
struct UnitRange {
  UnitId unit = 0;
  int64_t row_begin = 0;
  int64_t row_end = -1;  // -1: the whole unit
};

struct StoreStats {
  uint64_t bytes_read = 0;       // asked from the system since load() returned, alignment slack included
  uint64_t reads = 0;            // read requests since then
  uint64_t load_bytes_read = 0;  // during load()
  uint64_t hits = 0;             // cached units found in a slot at acquire
  uint64_t misses = 0;           // cached units that had to be read
  uint64_t evictions = 0;
  uint64_t warm_units = 0;        // cached units that load() has put into slots by StoreOptions::unit_rates
  uint64_t warm_bytes = 0;        // of them
  uint64_t wasted_bytes = 0;      // read ahead or prefetched and dropped unused
  uint64_t prefetched_bytes = 0;  // asked for by prefetch()
  uint64_t useful_prefetched_bytes = 0;  // of units that were then leased
  uint64_t stall_ns = 0;                 // the caller waited in a lease
  uint64_t pinned_bytes = 0;             // gauges from here on
  uint64_t cache_bytes = 0;              // all slots
  uint64_t cache_slots = 0;              // 0 if every cached unit stays
  uint64_t ring_bytes = 0;               // read-ahead buffers
  uint64_t streamed_bytes = 0;           // bytes of kStreamed units that are not pinned: read in every pass
  Governor::Stats governor;              // all 0 without one
  PaceReport pace;                       // all 0 without StoreOptions::max_slowdown
};

// What became of one unit.
struct UnitState {
  uint32_t last_pass = 0;   // that asked for it, as begin_pass() counts; 0: none yet
  uint32_t n_asked = 0;     // times
  uint32_t n_missed = 0;    // of a kCached unit: times that it had to be read
  bool was_missed = false;  // the last time
  bool is_here = false;     // pinned, or there or on its way to its room in memory
};

// Leased units stay where they are until released. Move-only, used by the store's one caller thread, and
// must not outlive the store. Destroying it releases what is left.
class Lease {
 public:
  Lease() noexcept;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  size_t size() const noexcept;  // ranges acquired

  // Blocks until range `index` has arrived. Throws the read's Error(kIo, kCorrupt). Where the lease asked for
  // more than fits at once, ranges arrive in waves as earlier ones are released, in the order of acquire:
  // wait for and release them in that order, or use wait_any().
  void wait(size_t index);

  // The index of a range that has arrived and was not returned before, in order of arrival; blocks if none
  // has. nullopt once every range was returned. poll_any() is the same without blocking (nullopt also for
  // "none yet").
  std::optional<size_t> wait_any();
  std::optional<size_t> poll_any();

  // The weight in range `index`, which has arrived. For a range of rows the view holds those rows only.
  // Valid until release(index).
  WeightView view(size_t index, const WeightRef& ref) const;

  void release(size_t index) noexcept;

  struct State;  // the store's

 private:
  friend class WeightStore;
  explicit Lease(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

enum class IoChoice : uint8_t { kAuto, kBuffered, kDirect };

struct StoreOptions {
  // Weaves rows of a plane in place (encoding/woven.h). Asked of what load() brings into memory to stay;
  // what comes and goes is left as it was read. Null: nothing is woven.
  std::function<void(std::byte* rows, int64_t n_rows, uint64_t row_bytes, Encoding encoding)> weave;
  uint64_t weight_bytes = UINT64_MAX;  // bound on everything the store allocates
  IoChoice io = IoChoice::kAuto;       // kAuto: direct when what must be read again exceeds spare memory
  size_t queue_depth = 16;             // reads of 512 KiB in flight, or up to 8 times as many smaller ones
  std::string policy = "forward";
  std::string split = "shared";
  // [n_units], 0 for all but kCached ones, or empty: how often a token used each unit in former runs. load()
  // fills the slots with the most used ones and the policy starts from these rates, which changes what is
  // read when, never what is computed.
  std::vector<float> unit_rates;
  uint64_t max_read_bytes_per_s = 0;  // while loading too; 0: as fast as the drive can
  double max_drive_celsius = 75;      // above it reads slow down, where the system shows it
  // Share of the arithmetic's speed that it may lose to reads that nobody waits for yet, before they are
  // slowed down (pace_controller.h); 0: they never are.
  double max_slowdown = 0;
  std::vector<std::string> mirrors;  // directories with copies of the files, best on other drives
  size_t n_mirrored = SIZE_MAX;      // so many of the files, the first ones; there are no copies of others
  Timeline* timeline = nullptr;      // what reads and waits are noted in; outlives the store
  // Gives slots back while others need the memory. It changes what is read again, not what is computed.
  bool governor = false;
  // For tests: replaces make_reader(), the policy by name, and what the governor sees and how it decides.
  std::function<std::unique_ptr<AsyncReader>(size_t depth)> reader_factory;
  std::function<std::unique_ptr<CachePolicy>()> policy_factory;
  std::function<std::unique_ptr<PressureSource>()> pressure_factory;
  GovernorOptions governor_options;
};

// Needs of a set of units, before anything is loaded.
struct StoreNeeds {
  uint64_t all = 0;  // everything resident
  // The least weight_bytes that a store accepts: rings, one expert with all its parts, what is kPinned.
  uint64_t minimum = 0;
  uint64_t one_token = 0;  // the dense part plus `cached_per_pass` kCached units: below it most are read
                           // anew. The minimum if there are none.
};
StoreNeeds store_needs(std::span<const UnitSpec> units, size_t cached_per_pass);

// The gauges of a store with these options, without opening or allocating anything. Throws Error(kNoMemory)
// below the minimum, as the store does. IoChoice::kAuto counts as kDirect, which has the least room.
StoreStats planned_stats(std::span<const UnitSpec> units, const StoreOptions& options);

// One caller thread; threads of its own do the reading and watch over memory.
class WeightStore {
 public:
  // Opens the files and plans; reads nothing. Throws Error(kNoMemory) if weight_bytes is below the minimum,
  // naming it. Reserves in `budget` (which must outlive the store) what it will allocate.
  WeightStore(const std::vector<std::string>& files, std::vector<UnitSpec> units, const StoreOptions& options,
              MemoryBudget& budget);
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // Reads what is pinned (and the whole cache if every cached unit fits, or what unit_rates names).
  // `progress(done, total)` in bytes, from the caller's thread; it may throw to cancel.
  void load(const std::function<void(uint64_t done, uint64_t total)>& progress = {});

  // Asks for ranges: decides evictions now, starts reads, returns at once. Ranges of kCached units must be
  // whole. At most one lease with unreleased kStreamed or kCached units that are not resident is open at a
  // time.
  Lease acquire(std::span<const UnitRange> ranges);

  // Holds those of these whole kCached units that are in memory now, and shortens `ranges` to them. No
  // demand: nothing is read, evicted or counted, and the policy is not told.
  Lease hold(std::vector<UnitRange>& ranges);

  // Advice that these kCached units are wanted soon; never blocks, never fails, evicts nothing that is
  // leased. Returns how many of them, from the first, it has seen to: fewer than all if the disk has demands
  // to answer first, or all slots are in use; ask again for the rest. Guesses are begun no sooner than keeps
  // the drive busy, so that wrong ones can be called off.
  size_t prefetch(std::span<const UnitRange> ranges, bool are_guesses = true) noexcept;
  // Calls off what was prefetched, has not been begun and is not among `wanted`.
  void cancel_prefetches(std::span<const UnitRange> wanted) noexcept;

  bool is_pinned(UnitId unit) const noexcept;  // in memory as long as the store lives
  bool holds(UnitId unit) const noexcept;      // pinned, or kCached and in a slot or on its way there
  bool has_slots() const noexcept;             // some kCached units may not be in memory
  Presence presence(UnitId unit);              // now; unlike holds() it depends on how fast the disk is

  // Advice to the cache's policy on which kCached units will be asked for; replaces what was said before.
  void expect(std::span<const Expectation> expected) noexcept;

  // The caller begins its next pass: a number for UnitState. `is_measured`: it will end with
  // end_measured_pass(), and StoreOptions::max_slowdown applies to it.
  void begin_pass(bool is_measured = false) noexcept;
  // The arithmetic of this pass, as far as its speed without reads is known, took `kernel_ns`, and would have
  // taken `calm_ns` without reads.
  void end_measured_pass(uint64_t kernel_ns, uint64_t calm_ns) noexcept;
  bool wants_measured_passes() const noexcept;
  // The number of reads so far, if none is in flight: the same twice says that there was none in between.
  std::optional<uint64_t> reads_if_idle() const noexcept;
  // Of stats(), for the caller's thread between two moments; bytes_read with those of load().
  uint64_t stall_ns() const noexcept;
  uint64_t bytes_read() const noexcept;

  // Once loaded, these from any thread.
  StoreStats stats() const;
  // What became of all units [n_units]; returns the number of the last pass.
  uint32_t look(std::vector<UnitState>& units) const;
  bool reads_past_page_cache() const noexcept;
  std::string describe_io() const;  // "io_uring, O_DIRECT, depth 16", for reports
  // "1.20 GiB on huge pages; not locked in memory: ...". Asks the kernel for a while: not for every token.
  std::string describe_memory() const;
  std::string describe_governor() const;  // "watches PSI, cgroup v1, MemAvailable", or why there is none

 private:
  friend class Lease;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
