#include "store/governor.h"
#include "encoding/reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <numeric>
#include <random>

#include "base/units.h"
#include "platform/memory_info.h"
#include "sluice/error.h"
#include "store/setup.h"
#include "store/weight_store.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

// --- the rule ---

constexpr uint64_t kFull = 4096 * kMiB, kLeast = 64 * kMiB, kStep = kFull / 8;

// A machine of 8 GiB with this process, whose cache is what the rule says, and others.
struct Machine {
  GovernorRule rule = GovernorRule(GovernorOptions(), kLeast, kFull);
  uint64_t others = 2048 * kMiB;
  double now = 100;
  bool alarm = false;

  uint64_t look(double seconds) {
    now += seconds;
    const uint64_t own = 1024 * kMiB + rule.target();
    const uint64_t total = 8192 * kMiB;
    return rule.decide(now, {total - std::min(total, others + own), own, alarm}, 1024 * kMiB);
  }
  // 3 GB in a second, looked at every 20 ms.
  void neighbour_takes_3000() {
    for (int i = 0; i < 50; ++i) {
      others += 60 * kMiB;
      EXPECT_LE(1024 * kMiB + rule.target() + others + 300 * kMiB, 8192 * kMiB) << "look " << i;
      look(0.02);
    }
  }
};

TEST(GovernorRule, LeavesACalmMachineAlone) {
  Machine machine;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(machine.look(0.02), kFull);
  EXPECT_EQ(machine.rule.reserve(), static_cast<int64_t>(512 * kMiB));
  for (int i = 0; i < 100; ++i) {  // 400 MiB in two seconds: there is room
    machine.others += 4 * kMiB;
    EXPECT_EQ(machine.look(0.02), kFull);
  }
}

TEST(GovernorRule, KeepsAReserveFromAGrowingNeighbour) {
  Machine machine;
  machine.look(0.02);
  machine.neighbour_takes_3000();  // there is always room for the next 100 ms of that
  machine.look(0.02);
  const uint64_t target = machine.rule.target();
  EXPECT_LE(target, kFull - (3000 - 512) * kMiB);
  EXPECT_GE(target, kLeast);
  // Holding still is no reason for more.
  for (int i = 0; i < 20; ++i) machine.look(0.02);
  EXPECT_EQ(machine.rule.target(), target);
}

TEST(GovernorRule, GrowsInStepsAfterQuiet) {
  Machine machine;
  machine.look(0.02);
  machine.neighbour_takes_3000();
  const uint64_t small = machine.rule.target();
  ASSERT_LT(small, kFull / 2);
  machine.others -= 3000 * kMiB;
  for (int i = 0; i < 9; ++i) EXPECT_EQ(machine.look(1), small);
  uint64_t last = small;
  int n_steps = 0;
  for (int i = 0; i < 60; ++i) {
    const uint64_t target = machine.look(0.5);
    EXPECT_LE(target - last, kStep);
    n_steps += target > last;
    last = target;
  }
  EXPECT_EQ(last, kFull);
  EXPECT_GE(n_steps, 4);
}

TEST(GovernorRule, DoesNotGrowIntoAnotherShortage) {
  Machine machine;
  machine.look(0.02);
  machine.others += 2000 * kMiB;
  for (int i = 0; i < 50; ++i) machine.look(0.02);
  uint64_t last = machine.rule.target();
  int n_shrinks = 0;
  for (int i = 0; i < 600; ++i) {
    const uint64_t target = machine.look(0.5);
    n_shrinks += target < last;
    last = target;
  }
  EXPECT_EQ(n_shrinks, 0);
}

TEST(GovernorRule, ABudgetCloseToALimitIsNoPressure) {
  GovernorRule rule(GovernorOptions(), kLeast, kFull);
  // The process will grow by 3 GiB, as planned, into a group with 10 MiB to spare.
  for (int i = 0; i < 30; ++i) {
    const uint64_t own = 1024 * kMiB + static_cast<uint64_t>(i) * 100 * kMiB;
    const uint64_t limit = 1024 * kMiB + kFull + 10 * kMiB;
    EXPECT_EQ(rule.decide(i * 0.02, {limit - own, own, i % 2 == 0}, 1024 * kMiB), kFull);
  }
}

TEST(GovernorRule, AnAlarmGoesAheadOfTheCounters) {
  Machine machine;
  machine.look(0.02);
  machine.others += 400 * kMiB;
  machine.look(1);
  EXPECT_EQ(machine.rule.target(), kFull);
  machine.alarm = true;
  machine.look(1);
  EXPECT_LE(machine.rule.target(), kFull - kStep);
}

TEST(GovernorRule, NeverGoesBelowTheLeast) {
  Machine machine;
  machine.look(0.02);
  machine.others = 8192 * kMiB - 1024 * kMiB - machine.rule.target();
  for (int i = 0; i < 30; ++i)
    EXPECT_GE(machine.rule.decide(machine.now += 0.02, {0, 0, true}, kFull), kLeast);
  EXPECT_EQ(machine.rule.target(), kLeast);
}

// --- the thread and the store ---

// Says what the test says.
class FakePressure final : public PressureSource {
 public:
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    Pressure now = {uint64_t{1} << 40, 0, false};
    bool is_new = false;
    uint64_t n_looks = 0;

    void set(uint64_t free) {
      const std::lock_guard lock(mutex);
      now.free = free;
      is_new = true;
      changed.notify_all();
    }
    // Until the governor has looked and acted on what was set.
    void wait_until_seen() {
      std::unique_lock lock(mutex);
      const uint64_t n = n_looks;
      changed.wait(lock, [&] { return n_looks >= n + 2; });
    }
  };
  explicit FakePressure(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  Pressure look(int timeout_ms) override {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return shared_->is_new; });
    shared_->is_new = false;
    ++shared_->n_looks;
    shared_->changed.notify_all();
    return shared_->now;
  }
  void wake() noexcept override {
    const std::lock_guard lock(shared_->mutex);
    shared_->is_new = true;
    shared_->changed.notify_all();
  }
  std::string describe() const override { return "a test"; }

 private:
  const std::shared_ptr<Shared> shared_;
};

// Experts of 300 kB in one file, byte i of expert e being e + i.
class Experts : public testing::TestWithParam<IoChoice> {
 protected:
  static constexpr uint64_t kBytes = 300'000;
  static constexpr int64_t kRows = 100;
  static constexpr uint64_t kRowBytes = kBytes / kRows;
  static constexpr UnitId kExperts = 400;

  void SetUp() override {
    std::string ramp(kBytes + 256, '\0');
    std::iota(ramp.begin(), ramp.end(), '\0');
    std::ofstream file(path_, std::ios::binary);
    for (UnitId e = 0; e < kExperts; ++e) file << ramp.substr((e + e * kBytes) % 256, kBytes);
    for (UnitId e = 0; e < kExperts; ++e)
      units_.push_back({UnitKind::kCached, {{0, e * kBytes, kBytes, kRowBytes}}, 1});
  }

  StoreOptions options() const {
    StoreOptions options;
    options.weight_bytes = 200 * (kBytes + 8192);
    options.io = GetParam();
    options.policy = "lru";
    options.governor = true;
    options.pressure_factory = [this] { return std::make_unique<FakePressure>(shared_); };
    options.governor_options = {
        .max_reserve = 8 << 20, .horizon_s = 0, .quiet_s = 0.2, .grow_interval_s = 0.02, .look_ms = 5};
    return options;
  }

  // Some rows of it, as floats. Also counts what is woven.
  bool is_right(const Lease& lease, size_t index, UnitId unit) {
    const WeightRef ref{.unit = unit, .rows = kRows, .cols = kRowBytes / sizeof(float)};
    const WeightView view = lease.view(index, ref);
    ++(view.woven_rows > 0 ? n_woven_ : n_plain_);
    float row[kRowBytes / sizeof(float)];
    for (int64_t r = 0; r < kRows; r += 9) {
      decode_row(view, r, row);
      const auto* const bytes = reinterpret_cast<const std::byte*>(row);
      const uint64_t first = unit + unit * kBytes + static_cast<uint64_t>(r) * kRowBytes;
      for (uint64_t i = 0; i < kRowBytes; i += 97) {
        if (bytes[i] != static_cast<std::byte>(first + i)) return false;
      }
    }
    return true;
  }
  // Leases four experts and checks them.
  void pass(WeightStore& store, std::mt19937& random) {
    std::vector<UnitRange> ranges;
    for (int i = 0; i < 4; ++i) ranges.push_back({static_cast<UnitId>(random() % kExperts)});
    Lease lease = store.acquire(ranges);
    while (const auto index = lease.wait_any()) {
      EXPECT_TRUE(is_right(lease, *index, ranges[*index].unit));
      lease.release(*index);
    }
  }

  test::Scratch scratch_;
  std::string path_ = scratch_ / "weights";
  std::vector<UnitSpec> units_;
  int n_woven_ = 0, n_plain_ = 0;  // views
  std::shared_ptr<FakePressure::Shared> shared_ = std::make_shared<FakePressure::Shared>();
};

TEST_P(Experts, TheStoreGivesBackAndTakesAgain) {
  MemoryBudget budget(UINT64_MAX);
  WeightStore store({path_}, units_, options(), budget);
  store.load();
  EXPECT_EQ(store.describe_governor(), "watches a test");
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) pass(store, random);
  const uint64_t full = store.stats().cache_bytes;
  const uint64_t resident = resident_bytes();
  EXPECT_EQ(budget.used(MemoryUse::kWeights), full);

  // Idle, as while a user types: nobody calls the store, and the memory goes all the same.
  shared_->set(0);
  shared_->wait_until_seen();
  shared_->wait_until_seen();
  StoreStats stats = store.stats();
  EXPECT_LT(stats.cache_bytes, full / 20);
  EXPECT_EQ(budget.used(MemoryUse::kWeights), stats.cache_bytes);
  EXPECT_LT(resident_bytes() + 40 * kMiB, resident);
  EXPECT_GE(stats.governor.shrinks, 1u);
  EXPECT_EQ(stats.governor.given_back_bytes, full - stats.cache_bytes);
  EXPECT_GT(stats.governor.give_back_ns, 0u);
  for (int i = 0; i < 50; ++i) pass(store, random);
  EXPECT_EQ(store.stats().cache_bytes, stats.cache_bytes);

  shared_->set(uint64_t{1} << 40);
  for (int i = 0; i < 500 && store.stats().cache_bytes < full; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stats = store.stats();
  EXPECT_EQ(stats.cache_bytes, full);
  EXPECT_EQ(budget.used(MemoryUse::kWeights), full);
  EXPECT_EQ(stats.governor.taken_again_bytes, stats.governor.given_back_bytes);
  EXPECT_GE(stats.governor.grows, 8u);
  for (int i = 0; i < 300; ++i) pass(store, random);
  const uint64_t misses = store.stats().misses;
  // All slots work again: under LRU a set of their number stays.
  for (int round = 0; round < 2; ++round) {
    for (UnitId e = 0; e < 190; ++e) {
      const UnitRange range = {e};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
      EXPECT_TRUE(is_right(lease, 0, e));
    }
  }
  EXPECT_LE(store.stats().misses - misses, 190u);
}

// Also where everything fits: units that were loaded, and woven, go, and are read again and left as they are.
TEST_P(Experts, AWholeCacheGivesBackToo) {
  MemoryBudget budget(UINT64_MAX);
  StoreOptions everything = options();
  everything.weight_bytes = UINT64_MAX;
  everything.weave = weave_rows;
  WeightStore store({path_}, units_, everything, budget);
  if (GetParam() == IoChoice::kBuffered) {
    EXPECT_EQ(planned_stats(units_, everything).cache_bytes, store.stats().cache_bytes);
  }
  const auto stop = [](uint64_t done, uint64_t) {
    if (done > 0) throw Error(ErrorKind::kCancelled, "enough");
  };
  EXPECT_THROW(store.load(stop), Error);
  store.load();
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) pass(store, random);
  StoreStats stats = store.stats();
  EXPECT_EQ(stats.misses, 0u);
  EXPECT_EQ(stats.bytes_read, 0u);
  EXPECT_EQ(stats.hits, 1200u);
  EXPECT_EQ(n_woven_, 1200);
  shared_->set(0);
  shared_->wait_until_seen();
  shared_->wait_until_seen();
  EXPECT_LT(store.stats().cache_bytes, stats.cache_bytes / 20);
  for (int i = 0; i < 100; ++i) pass(store, random);
  EXPECT_GT(store.stats().misses, 300u);
  EXPECT_GT(n_plain_, 300);
}

// Leased slots stay, and go once they are released.
TEST_P(Experts, WhatIsLeasedStays) {
  MemoryBudget budget(UINT64_MAX);
  WeightStore store({path_}, units_, options(), budget);
  store.load();
  std::vector<UnitRange> ranges;
  for (UnitId e = 0; e < 100; ++e) ranges.push_back({e});
  const uint64_t full = store.stats().cache_bytes;
  {
    Lease lease = store.acquire(ranges);
    for (size_t i = 0; i < ranges.size(); ++i) lease.wait(i);
    shared_->set(0);
    shared_->wait_until_seen();
    shared_->wait_until_seen();
    const uint64_t held = store.stats().cache_bytes;
    EXPECT_GE(held, 100 * kBytes);
    EXPECT_LT(held, full * 6 / 10);
    for (size_t i = 0; i < ranges.size(); ++i) EXPECT_TRUE(is_right(lease, i, ranges[i].unit));
    // More than is left of them, in waves.
  }
  shared_->wait_until_seen();
  EXPECT_LT(store.stats().cache_bytes, full / 20);
  EXPECT_EQ(budget.used(MemoryUse::kWeights), store.stats().cache_bytes);
  Lease lease = store.acquire(ranges);
  for (size_t i = 0; i < ranges.size(); ++i) {
    lease.wait(i);
    EXPECT_TRUE(is_right(lease, i, ranges[i].unit));
    lease.release(i);
  }
}

// Under changing pressure every byte is right, whatever the policy.
TEST_P(Experts, PressureNeverChangesABit) {
  for (const char* policy : {"lru", "clock"}) {
    MemoryBudget budget(UINT64_MAX);
    StoreOptions changing = options();
    changing.policy = policy;
    changing.governor_options.quiet_s = 0.01;
    changing.governor_options.grow_interval_s = 0;
    WeightStore store({path_}, units_, changing, budget);
    store.load();
    std::mt19937 random(2);
    uint64_t n_passes = 0;
    const auto run = [&] {
      for (int i = 0; i < 40; ++i, ++n_passes) {
        pass(store, random);
        const UnitRange range = {static_cast<UnitId>(random() % kExperts)};
        if (i % 11 == 0) store.prefetch({&range, 1});
      }
    };
    StoreStats stats;
    for (int i = 0; i < 400 && (stats.governor.shrinks < 4 || stats.governor.grows < 4); ++i) {
      shared_->set(i % 8 == 0 ? 0 : uint64_t{1} << 40);
      run();
      shared_->wait_until_seen();
      run();
      stats = store.stats();
    }
    EXPECT_GE(stats.governor.shrinks, 4u) << policy;
    EXPECT_GE(stats.governor.grows, 4u) << policy;
    EXPECT_EQ(stats.hits + stats.misses, n_passes * 4);
    shared_->set(0);
    shared_->wait_until_seen();
    shared_->wait_until_seen();
    EXPECT_EQ(budget.used(MemoryUse::kWeights), store.stats().cache_bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Io, Experts, testing::Values(IoChoice::kBuffered, IoChoice::kDirect),
                         [](const auto& instance) {
                           return instance.param == IoChoice::kDirect ? "Direct" : "Buffered";
                         });

TEST(WeightStore, LocksOnlyWhereItHelpsAndCannotHarm) {
  MemoryInfo machine;
  machine.total = machine.available = 16 << 20;
  machine.cgroup_limit = UINT64_MAX;
  EXPECT_NE(why_not_lock(machine, 1 << 20).find("no swap"), std::string::npos);
  machine.swap = 1 << 20;
  EXPECT_EQ(why_not_lock(machine, 8 << 20), "");
  EXPECT_NE(why_not_lock(machine, 9 << 20).find("more than half"), std::string::npos);
  machine.cgroup_limit = 8 << 20;
  EXPECT_NE(why_not_lock(machine, 8 << 20).find("more than half"), std::string::npos);
}

TEST(WeightStore, HasNoGovernorUnlessAsked) {
  const test::Scratch scratch;
  const std::string path = scratch.write("weights", std::string(100, 'x'));
  MemoryBudget budget(UINT64_MAX);
  WeightStore store({path}, {{UnitKind::kStreamed, {{0, 0, 100}}, 1}}, {}, budget);
  store.load();
  EXPECT_EQ(store.describe_governor(), "off");
}

}  // namespace
}  // namespace sluice
