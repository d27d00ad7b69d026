#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <list>
#include <map>
#include <random>
#include <set>

#include "base/align.h"
#include "encoding/reference.h"
#include "sluice/error.h"
#include "store/cache_simulator.h"
#include "store/plan.h"
#include "store/weight_store.h"
#include "tests/faulty_reader.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

using test::Faults;
using test::FaultyReader;

// What a file holds: bytes that differ from file to file and from place to place.
std::string_view contents(uint32_t file, uint64_t n_bytes) {
  static const std::string noise = [] {
    std::string bytes(2 << 20, '\0');
    uint64_t x = 1;
    for (char& byte : bytes)
      byte = static_cast<char>((x = x * 0x5851f42d4c957f2du + 0x14057b7ef767814fu) >> 56);
    return bytes;
  }();
  constexpr uint64_t kApart = 4099;
  EXPECT_LE(file * kApart + n_bytes, noise.size());
  return std::string_view(noise).substr(file * kApart, n_bytes);
}

// Files on disk with known bytes, and units that cover them.
class Weights {
 public:
  explicit Weights(std::vector<uint64_t> file_bytes) {
    for (uint32_t f = 0; f < file_bytes.size(); ++f) {
      paths.push_back(directory_.write(std::to_string(f), std::string(contents(f, file_bytes[f]))));
    }
  }

  UnitId add(UnitKind kind, int64_t rows, std::vector<Extent> extents) {
    units.push_back({kind, std::move(extents), rows});
    return static_cast<UnitId>(units.size() - 1);
  }

  std::vector<std::string> paths;
  std::vector<UnitSpec> units;

 private:
  test::Scratch directory_;
};

// A small model: dense layers of several sizes, some with three planes apart on disk, experts, an embedding.
constexpr int kLayers = 6;
constexpr int kExperts = 8;
constexpr int64_t kVocabulary = 100;

struct SmallModel : Weights {
  SmallModel() : Weights({700'001, 900'003, 30'001}) {
    uint64_t at = 11;  // nothing is aligned
    const auto take = [&at](uint64_t bytes) {
      at += bytes;
      return Extent{0, at - bytes, bytes};
    };
    // Scales and biases of the embedding lie apart from its values.
    embedding = add(UnitKind::kByRow, kVocabulary, {take(kVocabulary * 320), take(kVocabulary * 20)});
    units.back().extents.push_back({1, 850'000, kVocabulary * 20});
    for (uint64_t layer = 0; layer < kLayers; ++layer) {
      streamed.push_back(add(UnitKind::kStreamed, 1, {take(1 + 33 * layer)}));
      // The planes touch on disk and are listed in another order.
      const Extent biases = take(1000), scales = take(1000), values = take(40'000 + 1000 * layer);
      streamed.push_back(add(UnitKind::kStreamed, 4, {values, scales, biases}));
      for (uint64_t e = 0; e < kExperts; ++e) {
        const uint64_t slice = layer * kExperts + e;
        experts.push_back(add(UnitKind::kCached, 1,
                              {Extent{1, 5 + slice * 5000, 5000}, Extent{1, 300'000 + slice * 7000, 7000},
                               Extent{1, 700'000 + slice * 300, 300}}));
        units.back().group = static_cast<uint32_t>(layer);
      }
    }
    streamed.push_back(add(UnitKind::kStreamed, 10, {take(90'000)}));  // the head
    for (uint64_t i = 0; i < kLayers; ++i)
      always.push_back(
          add(UnitKind::kPinned, 1, {Extent{2, 9 + i * 3'001, 3'001}, Extent{2, 20'000 + i * 77, 77}}));
  }
  UnitId expert(int layer, int e) const { return experts[static_cast<size_t>(layer * kExperts + e)]; }

  UnitId embedding = 0;
  std::vector<UnitId> streamed;
  std::vector<UnitId> experts;
  std::vector<UnitId> always;  // [kLayers]
};

// Reads every byte of a range through views of one plane at a time.
bool range_is_right(const Weights& weights, const Lease& lease, size_t index, const UnitRange& range) {
  const UnitSpec& unit = weights.units[range.unit];
  const int64_t row_end = range.row_end < 0 ? unit.rows : range.row_end;
  for (size_t e = 0; e < unit.extents.size(); ++e) {
    WeightRef ref;
    ref.unit = range.unit;
    ref.first_extent = static_cast<uint8_t>(e);
    ref.rows = unit.rows;
    const WeightView view = lease.view(index, ref);
    const Extent& extent = unit.extents[e];
    const uint64_t stride = extent.bytes / static_cast<uint64_t>(unit.rows);
    if (view.rows != row_end - range.row_begin || view.stride[0] != stride) return false;
    const uint64_t begin = extent.offset + static_cast<uint64_t>(range.row_begin) * stride;
    const uint64_t n = static_cast<uint64_t>(view.rows) * stride;
    if (std::memcmp(view.plane[0], contents(extent.file, begin + n).data() + begin, n) != 0) return false;
  }
  return true;
}

// One forward pass as a model makes it. Adds the result of every check to `ok`.
void forward(const SmallModel& model, WeightStore& store, std::mt19937& random, bool with_head, bool* ok) {
  std::vector<UnitRange> rows;
  for (int i = 0; i < 40; ++i) {
    const int64_t row = random() % kVocabulary;
    rows.push_back({model.embedding, row, row + 1});
  }
  {
    Lease lease = store.acquire(rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      lease.wait(i);
      *ok &= range_is_right(model, lease, i, rows[i]);
      lease.release(i);
    }
  }
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::vector<UnitRange> dense = {{model.streamed[static_cast<size_t>(2 * layer)]},
                                          {model.streamed[static_cast<size_t>(2 * layer + 1)]}};
    {
      Lease lease = store.acquire(dense);
      for (size_t i = 0; i < dense.size(); ++i) {
        lease.wait(i);
        *ok &= range_is_right(model, lease, i, dense[i]);
        lease.release(i);
      }
    }
    std::set<int> chosen;
    while (chosen.size() < 3) chosen.insert(static_cast<int>(random() % kExperts));
    std::vector<UnitRange> experts;
    for (int e : chosen) experts.push_back({model.expert(layer, e)});
    experts.push_back({model.always[static_cast<size_t>(layer)]});
    *ok &= store.presence(experts.back().unit) == Presence::kHere;
    Lease lease = store.acquire(experts);
    size_t n = 0;
    while (const auto index = lease.wait_any()) {
      *ok &= range_is_right(model, lease, *index, experts[*index]);
      lease.release(*index);
      ++n;
    }
    *ok &= n == experts.size();
  }
  if (with_head) {
    const std::vector<UnitRange> head = {{model.streamed.back()}};
    Lease lease = store.acquire(head);
    lease.wait(0);
    *ok &= range_is_right(model, lease, 0, head[0]);
  }
}

struct Case {
  IoChoice io;
  bool faulty;
};

class StoreTest : public testing::TestWithParam<Case> {
 protected:
  StoreOptions options(uint64_t weight_bytes) {
    StoreOptions o;
    o.weight_bytes = weight_bytes;
    o.io = GetParam().io;
    o.queue_depth = 5;
    if (GetParam().faulty) make_faulty(o);
    return o;
  }
  void make_faulty(StoreOptions& o) {
    o.reader_factory = [this](size_t depth) -> std::unique_ptr<AsyncReader> {
      return std::make_unique<FaultyReader>(make_reader(depth), depth, faults_);
    };
  }
  std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
};

TEST_P(StoreTest, DeliversTheRightBytesAtEveryBudget) {
  faults_->max_delay_us = 50;
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  ASSERT_LT(needs.minimum, needs.one_token);
  ASSERT_LE(needs.one_token, needs.all);
  for (int step = 0; step <= 8; ++step) {
    const uint64_t bytes = needs.minimum + (needs.all - needs.minimum) * static_cast<uint64_t>(step) / 8;
    MemoryBudget budget(bytes);
    {
      WeightStore store(model.paths, model.units, options(UINT64_MAX), budget);
      uint64_t last = 0;
      store.load([&](uint64_t done, uint64_t total) {
        EXPECT_LE(last, done);
        EXPECT_LE(done, total);
        last = done;
      });
      std::mt19937 random(static_cast<uint32_t>(step));
      bool ok = true;
      for (int pass = 0; pass < 5; ++pass) forward(model, store, random, pass != 1 && pass != 2, &ok);
      EXPECT_TRUE(ok) << "budget " << bytes;
      const StoreStats stats = store.stats();
      EXPECT_EQ(stats.pinned_bytes + stats.cache_bytes + stats.ring_bytes, budget.used(MemoryUse::kWeights));
      EXPECT_EQ(stats.hits + stats.misses, 5u * kLayers * 3);
      if (step == 8 && GetParam().io == IoChoice::kBuffered) {
        EXPECT_EQ(stats.bytes_read, 0u);
        EXPECT_EQ(stats.misses, 0u);
      }
      if (step == 0) {
        EXPECT_GT(stats.streamed_bytes, 0u);
        EXPECT_GT(stats.bytes_read, 0u);
      }
    }
    EXPECT_LE(budget.peak(), bytes);
    EXPECT_EQ(budget.total(), 0u);
  }
}

// A random script: leases of anything, whole or by rows, twice the same, more than fits; waited for in order
// or as they arrive, or abandoned; with prefetches in between.
void run_random_script(const SmallModel& model, WeightStore& store) {
  const auto n_leases = *rc::gen::inRange(1, 25);
  for (int n = 0; n < n_leases; ++n) {
    const auto prefetched = *rc::gen::container<std::vector<uint8_t>>(rc::gen::inRange<uint8_t>(0, 48));
    for (uint8_t e : prefetched) {
      const UnitRange range = {model.experts[e % model.experts.size()]};
      store.prefetch({&range, 1});
    }
    const auto units = *rc::gen::container<std::vector<uint8_t>>(
        rc::gen::inRange<uint8_t>(0, static_cast<uint8_t>(model.units.size())));
    std::vector<UnitRange> ranges;
    for (uint8_t u : units) {
      const UnitSpec& unit = model.units[u];
      UnitRange range = {u};
      const bool by_rows = unit.kind == UnitKind::kByRow || (unit.kind == UnitKind::kStreamed && u % 3 == 0);
      if (by_rows && unit.rows > 1) {
        range.row_begin = *rc::gen::inRange<int64_t>(0, unit.rows);
        range.row_end =
            *rc::gen::inRange<int64_t>(range.row_begin + 1, std::min(range.row_begin + 10, unit.rows) + 1);
      }
      ranges.push_back(range);
    }
    Lease lease = store.acquire(ranges);
    const auto abandon_after = *rc::gen::inRange<size_t>(0, 2 * ranges.size() + 1);
    const bool in_order = *rc::gen::arbitrary<bool>();
    std::set<size_t> seen;
    for (size_t i = 0; i < ranges.size() && i < abandon_after; ++i) {
      size_t index = i;
      if (in_order) {
        lease.wait(i);
      } else {
        const auto arrived = lease.wait_any();
        RC_ASSERT(arrived.has_value());
        index = *arrived;
      }
      RC_ASSERT(seen.insert(index).second);
      RC_ASSERT(range_is_right(model, lease, index, ranges[index]));
      lease.release(index);
    }
    if (abandon_after >= ranges.size()) RC_ASSERT(!lease.wait_any().has_value());
  }
}

TEST_P(StoreTest, DeliversAnyRandomScript) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  const bool ok = rc::check([&] {
    const auto share = *rc::gen::inRange<uint64_t>(0, 101);
    const uint64_t bytes = needs.minimum + (needs.all - needs.minimum) * share / 100;
    faults_->seed = *rc::gen::arbitrary<uint32_t>();
    MemoryBudget budget(bytes);
    StoreOptions o = options(bytes);
    o.policy = *rc::gen::elementOf(
        std::vector<std::string>(cache_policy_names().begin(), cache_policy_names().end()));
    o.split = *rc::gen::element<std::string>("shared", "measured");
    WeightStore store(model.paths, model.units, o, budget);
    store.load();
    run_random_script(model, store);
    RC_ASSERT(budget.peak() <= bytes);
  });
  EXPECT_TRUE(ok);
}

// Reads fail now and then: the error comes from the wait, names the file, and the next try succeeds.
TEST_P(StoreTest, RecoversFromErrors) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(needs.minimum);
  StoreOptions o = options(UINT64_MAX);
  make_faulty(o);
  WeightStore store(model.paths, model.units, o, budget);
  faults_->fail = 200;
  int n_failed_loads = 0;
  while (true) {
    try {
      store.load();
      break;
    } catch (const Error& error) {
      ++n_failed_loads;
      ASSERT_EQ(error.kind(), ErrorKind::kIo);
    }
  }
  faults_->fail = 50;
  int n_errors = 0;
  int n_passes = 0;
  std::mt19937 random(1);
  for (int n = 0; n < 60; ++n) {
    bool ok = true;
    try {
      forward(model, store, random, true, &ok);
      ++n_passes;
    } catch (const Error& error) {
      ++n_errors;
      EXPECT_EQ(error.kind(), ErrorKind::kIo);
      const std::string what = error.what();
      EXPECT_TRUE(what.find(model.paths[0]) != std::string::npos ||
                  what.find(model.paths[1]) != std::string::npos);
      EXPECT_NE(what.find("unit"), std::string::npos);
    }
    EXPECT_TRUE(ok);
  }
  EXPECT_GT(n_errors, 0);
  EXPECT_GT(faults_->n_failed.load(), 0u);
  faults_->fail = 0;
  // What failed before is tried again.
  bool ok = true;
  forward(model, store, random, true, &ok);
  EXPECT_TRUE(ok);
}

TEST_P(StoreTest, NamesAFileThatShrank) {
  const SmallModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, options(store_needs(model.units, 3).minimum), budget);
  store.load();
  ASSERT_EQ(::truncate(model.paths[1].c_str(), 100), 0);
  const UnitRange last = {model.experts.back()};
  Lease lease = store.acquire({&last, 1});
  try {
    lease.wait(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("shrunk"), std::string::npos) << error.what();
  }
}

TEST_P(StoreTest, LoadingCanBeCancelledAndResumed) {
  const SmallModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, options(UINT64_MAX), budget);
  int n_calls = 0;
  EXPECT_THROW(store.load([&](uint64_t, uint64_t) {
    if (++n_calls == 2) throw Error(ErrorKind::kCancelled, "enough");
  }),
               Error);
  store.load();
  std::mt19937 random(1);
  bool ok = true;
  forward(model, store, random, true, &ok);
  EXPECT_TRUE(ok);
}

// Also after loads that failed in the middle.
TEST_P(StoreTest, BeginsWithWhatFormerRunsUsedMost) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  std::vector<float> rates(model.units.size(), 0);
  for (size_t e = 0; e < model.experts.size(); ++e)  // the later the hotter
    rates[model.experts[e]] = static_cast<float>(e) / static_cast<float>(model.experts.size());
  for (const std::string_view policy : cache_policy_names()) {
    MemoryBudget budget(UINT64_MAX);
    StoreOptions o = options((needs.one_token + needs.all) / 2);
    make_faulty(o);
    o.policy = policy;
    o.unit_rates = rates;
    WeightStore store(model.paths, model.units, o, budget);
    faults_->fail = 300;
    int n_failed = 0;
    for (bool done = false; !done;) {
      try {
        store.load();
        done = true;
      } catch (const Error&) {
        ASSERT_LT(++n_failed, 1000);
      }
    }
    faults_->fail = 0;
    const size_t n_slots = store.stats().cache_slots;
    ASSERT_GT(n_slots, 4U);
    ASSERT_LT(n_slots, model.experts.size());
    EXPECT_EQ(store.stats().warm_units, n_slots);
    EXPECT_GT(store.stats().warm_bytes, n_slots * 12'300);
    const size_t coldest = model.experts.size() - n_slots;  // of those that are there
    for (size_t e = 0; e < model.experts.size(); ++e)
      EXPECT_EQ(store.holds(model.experts[e]), e >= coldest) << policy << ", expert " << e;
    const auto use = [&](UnitId unit) {
      const UnitRange range = {unit};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
      EXPECT_TRUE(range_is_right(model, lease, 0, range));
    };
    for (size_t e = coldest; e < model.experts.size(); ++e) use(model.experts[e]);
    EXPECT_EQ(store.stats().misses, 0U);
    EXPECT_EQ(store.stats().hits, n_slots);
    EXPECT_EQ(store.stats().bytes_read, 0U);
    use(model.experts[0]);
    EXPECT_EQ(store.stats().misses, 1U);
    EXPECT_EQ(store.stats().evictions, 1U);
  }
}

TEST_P(StoreTest, CountsTheHitsOfASimulation) {
  faults_->max_delay_us = 30;
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  std::vector<uint32_t> groups;
  for (const UnitSpec& unit : model.units)
    groups.push_back(unit.kind == UnitKind::kCached ? unit.group : CacheGeometry::kNoGroup);
  for (const std::string_view policy : cache_policy_names()) {
    MemoryBudget budget(UINT64_MAX);
    StoreOptions o = options((needs.one_token + needs.all) / 2);
    o.policy = policy;
    o.split = policy.size() % 2 == 0 ? "shared" : "measured";
    WeightStore store(model.paths, model.units, o, budget);
    store.load();
    size_t slot_bytes = 0;
    for (UnitId e : model.experts) {
      size_t bytes = 0;
      for (const Extent& extent : model.units[e].extents) {
        const bool direct = GetParam().io == IoChoice::kDirect;
        const uint64_t unit = direct ? kPageBytes : 1;
        bytes += round_up(round_up(extent.offset + extent.bytes, unit) - round_down(extent.offset, unit), 64);
      }
      slot_bytes = std::max(slot_bytes, bytes);
    }
    const size_t n_slots = store.stats().cache_slots;
    EXPECT_EQ(n_slots, store.stats().cache_bytes / slot_bytes);
    ASSERT_GT(n_slots, 4u);
    ASSERT_LT(n_slots, model.experts.size());
    CacheSimulator simulation(groups, n_slots, make_cache_policy(o.policy, o.split));
    std::mt19937 random(3);
    for (int n = 0; n < 300; ++n) {
      std::set<UnitId> chosen;
      while (chosen.size() < 4) chosen.insert(model.experts[std::min(random() % 48, random() % 48)]);
      std::vector<UnitId> units(chosen.begin(), chosen.end());
      std::shuffle(units.begin(), units.end(), random);
      std::vector<UnitRange> ranges;
      for (UnitId u : units) ranges.push_back({u});
      Lease lease = store.acquire(ranges);
      simulation.acquire(units);
      if (n % 7 == 0) continue;  // abandoned
      while (const auto index = lease.wait_any()) lease.release(*index);
    }
    const StoreStats stats = store.stats();
    EXPECT_EQ(stats.hits, simulation.hits()) << policy;
    EXPECT_EQ(stats.misses, simulation.misses()) << policy;
    EXPECT_EQ(stats.evictions, simulation.evictions()) << policy;
    EXPECT_GT(stats.hits, 100u);
  }
}

// Both parts of a pair are held before either is released, with as few slots as a store accepts.
TEST_P(StoreTest, PartsOfOneNeverWaitForEachOther) {
  faults_->max_delay_us = 50;
  SmallModel model;
  for (const UnitId unit : model.experts) {
    model.units[unit].part = static_cast<uint16_t>((unit - model.experts[0]) % 2);
    model.units[unit].n_parts = 2;
  }
  const StoreNeeds needs = store_needs(model.units, 3);
  for (const uint64_t bytes : {needs.minimum, needs.one_token, (needs.one_token + needs.all) / 2}) {
    for (const std::string_view policy : cache_policy_names()) {
      MemoryBudget budget(UINT64_MAX);
      StoreOptions o = options(bytes);
      o.policy = policy;
      WeightStore store(model.paths, model.units, o, budget);
      store.load();
      ASSERT_GE(store.stats().cache_slots, 2u);
      std::mt19937 random(7);
      for (int n = 0; n < 40; ++n) {
        std::vector<UnitRange> ranges;
        for (size_t pair = 0; pair < model.experts.size(); pair += 2) {
          if (random() % 4 > 0) continue;
          ranges.push_back({model.experts[pair]});
          ranges.push_back({model.experts[pair + 1]});
        }
        Lease lease = store.acquire(ranges);
        std::vector<int> n_arrived(ranges.size() / 2);
        while (const auto index = lease.wait_any()) {
          if (++n_arrived[*index / 2] < 2) continue;
          for (const size_t part : {*index / 2 * 2, *index / 2 * 2 + 1}) {
            ASSERT_TRUE(range_is_right(model, lease, part, ranges[part]));
            lease.release(part);
          }
        }
        ASSERT_EQ(std::count(n_arrived.begin(), n_arrived.end(), 2), static_cast<long>(n_arrived.size()));
      }
    }
  }
}

// Two equally used units are told apart by what is expected.
TEST_P(StoreTest, HandsExpectationsToThePolicy) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  for (const int expected : {0, 1}) {
    MemoryBudget budget(UINT64_MAX);
    StoreOptions o = options((needs.one_token + needs.all) / 2);
    o.policy = "forward";
    WeightStore store(model.paths, model.units, o, budget);
    store.load();
    const auto use = [&](UnitId unit) {
      const UnitRange range = {unit};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
    };
    const auto n_slots = static_cast<size_t>(store.stats().cache_slots);
    for (size_t i = 0; i < n_slots; ++i) {
      for (int n = 0; n < (i > 1 ? 3 : 1); ++n) use(model.experts[i]);
    }
    const Expectation soon = {model.experts[static_cast<size_t>(expected)], 1, 2 * kLayers};
    store.expect({&soon, 1});
    use(model.experts[n_slots]);
    const uint64_t misses = store.stats().misses;
    use(model.experts[static_cast<size_t>(expected)]);
    EXPECT_EQ(store.stats().misses, misses);
    use(model.experts[static_cast<size_t>(1 - expected)]);
    EXPECT_EQ(store.stats().misses, misses + 1);
  }
}

// More experts than slots, of which some are there already, in a lease that is served in order: the same
// counts whether it is waited for in order or as things arrive.
TEST_P(StoreTest, ServesMoreThanFitsInWaves) {
  faults_->max_delay_us = 100;
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  std::vector<StoreStats> counted;
  for (bool in_order : {true, false}) {
    MemoryBudget budget(UINT64_MAX);
    WeightStore store(model.paths, model.units, options(needs.one_token), budget);
    store.load();
    ASSERT_LT(store.stats().cache_bytes, 12u * 24'576) << "all experts of a layer fit: nothing is tested";
    std::mt19937 random(5);
    for (int n = 0; n < 30; ++n) {
      std::vector<UnitRange> ranges;
      for (UnitId e : model.experts) {
        if (random() % 3 > 0) ranges.push_back({e});
      }
      std::shuffle(ranges.begin(), ranges.end(), random);
      Lease lease = store.acquire(ranges);
      for (size_t i = 0; i < ranges.size(); ++i) {
        if (in_order) lease.wait(i);
        const size_t index = in_order ? i : lease.wait_any().value();
        EXPECT_TRUE(range_is_right(model, lease, index, ranges[index]));
        lease.release(index);
      }
    }
    counted.push_back(store.stats());
  }
  EXPECT_EQ(counted[0].hits, counted[1].hits);
  EXPECT_EQ(counted[0].misses, counted[1].misses);
  EXPECT_EQ(counted[0].evictions, counted[1].evictions);
  EXPECT_GT(counted[0].hits, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, StoreTest,
                         testing::Values(Case{IoChoice::kBuffered, false}, Case{IoChoice::kDirect, false},
                                         Case{IoChoice::kBuffered, true}, Case{IoChoice::kDirect, true}),
                         [](const auto& instance) {
                           return std::string(instance.param.io == IoChoice::kDirect ? "Direct"
                                                                                     : "Buffered") +
                                  (instance.param.faulty ? "Faulty" : "");
                         });

// --- what does not depend on how things are read ---

StoreOptions with_bytes(uint64_t bytes, IoChoice io = IoChoice::kBuffered) {
  StoreOptions options;
  options.weight_bytes = bytes;
  options.io = io;
  return options;
}

TEST(WeightStore, RefusesBelowTheMinimumAndNamesIt) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  for (IoChoice io : {IoChoice::kAuto, IoChoice::kBuffered, IoChoice::kDirect}) {
    MemoryBudget budget(UINT64_MAX);
    { WeightStore store(model.paths, model.units, with_bytes(needs.minimum, io), budget); }
    try {
      WeightStore store(model.paths, model.units, with_bytes(needs.minimum - 1, io), budget);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNoMemory);
      const std::string mib = std::to_string((needs.minimum + (1 << 20) - 1) >> 20) + " MiB";
      EXPECT_NE(std::string(error.what()).find(mib), std::string::npos) << error.what();
    }
    EXPECT_EQ(budget.total(), 0u);
  }
}

TEST(WeightStore, RefusesExtentsBeyondTheFile) {
  SmallModel model;
  model.units[0].extents[0].offset = UINT64_MAX - 10;
  MemoryBudget budget(UINT64_MAX);
  EXPECT_THROW(WeightStore(model.paths, model.units, {}, budget), Error);
}

TEST(WeightStore, KeepsEverythingWhereItFits) {
  const SmallModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(store_needs(model.units, 3).all, IoChoice::kAuto),
                    budget);
  store.load();
  std::mt19937 random(1);
  bool ok = true;
  forward(model, store, random, true, &ok);
  EXPECT_TRUE(ok);
  EXPECT_EQ(store.stats().bytes_read, 0u);
  EXPECT_GT(store.stats().load_bytes_read, 0u);
  EXPECT_NE(store.describe_io().find("buffered"), std::string::npos) << store.describe_io();
}

// A dense model of equal units on one file.
struct DenseModel : Weights {
  static constexpr uint64_t kUnitBytes = 100'000;
  static constexpr UnitId kUnits = 20;
  DenseModel() : Weights({kUnitBytes * kUnits}) {
    for (UnitId u = 0; u < kUnits; ++u) add(UnitKind::kStreamed, 1, {{0, u * kUnitBytes, kUnitBytes}});
  }
  // Units [0, end) in order, each checked.
  void pass(WeightStore& store, UnitId end) const {
    for (UnitId u = 0; u < end; ++u) {
      const UnitRange range = {u};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
      EXPECT_TRUE(range_is_right(*this, lease, 0, range));
    }
  }
};

TEST(WeightStore, ReadsAPassOnce) {
  const DenseModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(12 * model.kUnitBytes), budget);
  store.load();
  const StoreStats before = store.stats();
  EXPECT_GT(before.pinned_bytes, 0u);
  EXPECT_GT(before.streamed_bytes, 0u);
  for (int pass = 0; pass < 4; ++pass) model.pass(store, model.kUnits);
  const StoreStats after = store.stats();
  EXPECT_EQ(after.wasted_bytes, 0u);
  // Rooms are a little larger than what is read into them.
  EXPECT_GE(after.bytes_read, 4 * (before.streamed_bytes / model.kUnitBytes) * model.kUnitBytes);
  EXPECT_LE(after.bytes_read, 4 * before.streamed_bytes + before.ring_bytes);  // the next pass may have begun
}

TEST(StorePlan, SaysBeforehandWhatAStoreWillHave) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  for (IoChoice io : {IoChoice::kBuffered, IoChoice::kDirect}) {
    for (uint64_t bytes : {needs.minimum, (needs.minimum + needs.all) / 2, needs.all}) {
      MemoryBudget budget(UINT64_MAX);
      const StoreOptions options = with_bytes(bytes, io);
      const WeightStore store(model.paths, model.units, options, budget);
      const StoreStats planned = planned_stats(model.units, options);
      EXPECT_EQ(planned.pinned_bytes, store.stats().pinned_bytes);
      EXPECT_EQ(planned.cache_bytes, store.stats().cache_bytes);
      EXPECT_EQ(planned.ring_bytes, store.stats().ring_bytes);
      EXPECT_EQ(planned.streamed_bytes, store.stats().streamed_bytes);
    }
  }
}

TEST(StorePlan, PinsEvenlyOverThePass) {
  const DenseModel model;
  const StorePlan plan = plan_store(model.units, IoMode::kBuffered, 12 * model.kUnitBytes, 2);
  const auto n_pinned = [&](UnitId begin, UnitId end) {
    return std::count(plan.pinned.begin() + begin, plan.pinned.begin() + end, 1);
  };
  EXPECT_GT(n_pinned(0, 20), 4);
  EXPECT_LT(n_pinned(0, 20), 12);
  EXPECT_LE(std::abs(n_pinned(0, 10) - n_pinned(10, 20)), 1);
  EXPECT_LE(std::abs(n_pinned(0, 5) - n_pinned(5, 10)), 1);
}

TEST(WeightStore, LearnsWhatPassesSkip) {
  const DenseModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(5 * model.kUnitBytes), budget);
  store.load();
  const UnitId skipped = model.kUnits - 4;
  model.pass(store, skipped);
  model.pass(store, skipped);
  const uint64_t wasted = store.stats().wasted_bytes;
  const uint64_t read = store.stats().bytes_read;
  for (int pass = 0; pass < 5; ++pass) model.pass(store, skipped);
  EXPECT_EQ(store.stats().wasted_bytes, wasted);
  EXPECT_LE(store.stats().bytes_read - read, 5 * skipped * (model.kUnitBytes + 64));
  // Then they are wanted again, and after one pass expected again.
  model.pass(store, model.kUnits);
  model.pass(store, model.kUnits);
  const uint64_t wasted_before = store.stats().wasted_bytes;
  for (int pass = 0; pass < 3; ++pass) model.pass(store, model.kUnits);
  EXPECT_EQ(store.stats().wasted_bytes, wasted_before);
}

TEST(WeightStore, RowsOfAPinnedUnitPointIntoIt) {
  const SmallModel model;
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(UINT64_MAX), budget);
  store.load();
  const std::vector<UnitRange> ranges = {{model.embedding}, {model.embedding, 7, 9}};
  Lease lease = store.acquire(ranges);
  lease.wait(1);
  const WeightRef ref = {model.embedding, 0, Encoding::kF32, {}, kVocabulary, 80};
  EXPECT_EQ(lease.view(1, ref).plane[0], lease.view(0, ref).plane[0] + 7 * 320);
  EXPECT_TRUE(range_is_right(model, lease, 1, ranges[1]));
}

TEST(WeightStore, DeliversHitsBeforeMisses) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(needs.one_token), budget);
  store.load();
  const UnitRange known = {model.expert(0, 3)};
  {
    Lease lease = store.acquire({&known, 1});
    lease.wait(0);
  }
  const std::vector<UnitRange> ranges = {{model.expert(0, 1)}, known};
  Lease lease = store.acquire(ranges);
  EXPECT_EQ(lease.poll_any(), 1u);
  EXPECT_EQ(lease.wait_any(), 0u);
  EXPECT_EQ(lease.wait_any(), std::nullopt);
}

// What is held is in nobody's way afterwards, and was never an access.
TEST(WeightStore, HoldsWhatIsThereAndCountsNothing) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(UINT64_MAX);
  StoreOptions options = with_bytes(needs.one_token);
  options.policy = "lru";
  WeightStore store(model.paths, model.units, options, budget);
  store.load();
  const auto use_the_others = [&] {
    for (size_t i = 2; i < model.experts.size(); ++i) {
      const UnitRange range = {model.experts[i]};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
    }
  };
  const std::vector<UnitRange> two = {{model.experts[0]}, {model.experts[1]}};
  { store.acquire(two).wait(1); }
  { store.acquire(two).wait(0); }
  const StoreStats before = store.stats();
  std::vector<UnitRange> ranges = {two[0], {model.experts.back()}, two[1]};
  Lease held = store.hold(ranges);
  ASSERT_EQ(ranges.size(), 2u);
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(store.stats().hits, before.hits);
  EXPECT_EQ(store.stats().misses, before.misses);
  use_the_others();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(ranges[i].unit, two[i].unit);
    EXPECT_TRUE(store.holds(two[i].unit));
    EXPECT_TRUE(range_is_right(model, held, i, two[i]));
  }
  held = Lease();
  use_the_others();
  EXPECT_FALSE(store.holds(two[0].unit));
  EXPECT_FALSE(store.holds(two[1].unit));

  WeightStore whole(model.paths, model.units, with_bytes(needs.all), budget);
  whole.load();
  ranges = {two[0], {model.experts.back()}};
  held = whole.hold(ranges);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_TRUE(range_is_right(model, held, 1, ranges[1]));
  EXPECT_EQ(whole.stats().hits, 0u);
  held = Lease();
}

TEST(WeightStore, PrefetchTurnsMissesIntoHits) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(UINT64_MAX);
  WeightStore store(model.paths, model.units, with_bytes(needs.one_token), budget);
  store.load();
  const std::vector<UnitRange> wanted = {{model.expert(0, 1)}, {model.expert(0, 2)}};
  store.prefetch(wanted);
  {
    Lease lease = store.acquire(wanted);
    for (size_t i = 0; i < wanted.size(); ++i) {
      lease.wait(i);
      EXPECT_TRUE(range_is_right(model, lease, i, wanted[i]));
    }
  }
  EXPECT_EQ(store.stats().hits, 2u);
  EXPECT_EQ(store.stats().misses, 0u);
  EXPECT_EQ(store.stats().wasted_bytes, 0u);
  // Prefetched in vain: others need the slots.
  const UnitRange vain = {model.expert(5, 7)};
  store.prefetch({&vain, 1});
  for (UnitId e : model.experts) {
    if (e == vain.unit) continue;
    const UnitRange range = {e};
    Lease lease = store.acquire({&range, 1});
    lease.wait(0);
  }
  EXPECT_LE(store.stats().wasted_bytes, 3 * 2 * kPageBytes + 12'300);
}

TEST(WeightStore, PrefetchesThatWereCalledOffAreMadeAgain) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(UINT64_MAX);
  StoreOptions options = with_bytes((needs.one_token + needs.all) / 2);
  options.max_read_bytes_per_s = 2 << 20;  // 42 kB at once: not all can be begun
  WeightStore store(model.paths, model.units, options, budget);
  store.load();
  std::vector<UnitRange> wanted;
  for (int e = 0; e < kExperts; ++e) wanted.push_back({model.expert(0, e)});
  for (const UnitRange& range : wanted) EXPECT_EQ(store.presence(range.unit), Presence::kAbsent);
  EXPECT_EQ(store.prefetch(wanted), wanted.size());
  EXPECT_EQ(store.presence(wanted.back().unit), Presence::kComing);
  store.cancel_prefetches({});
  EXPECT_EQ(store.presence(wanted.back().unit), Presence::kAbsent);
  EXPECT_EQ(store.prefetch(wanted), wanted.size());
  const auto are_here = [&] {
    return std::all_of(wanted.begin(), wanted.end(),
                       [&](const UnitRange& range) { return store.presence(range.unit) == Presence::kHere; });
  };
  for (int i = 0; i < 5000 && !are_here(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(are_here());
  Lease lease = store.acquire(wanted);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(lease.poll_any(), i);
    EXPECT_TRUE(range_is_right(model, lease, i, wanted[i]));
  }
  EXPECT_EQ(store.stats().misses, 0u);
}

// What was begun goes on, so that a demand that comes right behind finds it on its way.
TEST(WeightStore, DemandsFollowPrefetchesThatWereCalledOff) {
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  MemoryBudget budget(UINT64_MAX);
  StoreOptions options = with_bytes((needs.one_token + needs.all) / 2);
  options.max_read_bytes_per_s = 2 << 20;  // 42 kB at once: the last piece of the fourth expert waits
  const auto faults = std::make_shared<Faults>();
  options.reader_factory = [faults](size_t depth) {
    return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
  };
  WeightStore store(model.paths, model.units, options, budget);
  store.load();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // what loading took is made good
  faults->stall_ms = 200;
  std::vector<UnitRange> wanted;
  for (int e = 0; e < kExperts; ++e) wanted.push_back({model.expert(0, e)});
  EXPECT_EQ(store.prefetch(wanted), wanted.size());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  store.cancel_prefetches({});
  Lease lease = store.acquire(wanted);
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_NO_THROW(lease.wait(i)) << i;
    EXPECT_TRUE(range_is_right(model, lease, i, wanted[i]));
  }
}

// Rows [first, first + view.rows) of a plane of floats in file 0.
void expect_rows(const WeightView& view, const Extent& plane, int64_t first) {
  std::vector<float> row(static_cast<size_t>(view.cols));
  for (int64_t r = 0; r < view.rows; ++r) {
    decode_row(view, r, row.data());
    const uint64_t at = plane.offset + static_cast<uint64_t>(first + r) * plane.row_bytes;
    EXPECT_EQ(std::memcmp(row.data(), contents(0, at + plane.row_bytes).data() + at, plane.row_bytes), 0)
        << "row " << first + r;
  }
}

TEST(WeightStore, WhatStaysInMemoryIsWovenAndWhatComesAndGoesIsNot) {
  constexpr int kUnits = 8;
  Weights weights({1'900'000});
  uint64_t at = 3;
  const auto plane = [&at](int64_t rows, uint64_t row_bytes) {
    const uint64_t bytes = static_cast<uint64_t>(rows) * row_bytes;
    at += bytes;
    return Extent{0, at - bytes, bytes, row_bytes};
  };
  const UnitId table = weights.add(UnitKind::kByRow, 40, {plane(40, 640)});
  const UnitId dense = weights.add(UnitKind::kStreamed, 33, {plane(33, 4040)});
  const UnitId plain = weights.add(UnitKind::kStreamed, 32, {plane(32, 640)});
  weights.units[plain].extents[0].row_bytes = 0;
  const auto first_expert = static_cast<UnitId>(weights.units.size());
  for (int e = 0; e < kUnits; ++e) weights.add(UnitKind::kCached, 1, {plane(32, 4096), plane(17, 4000)});
  const auto view_of = [&](Lease& lease, UnitId unit, uint8_t extent) {
    const Extent& bytes = weights.units[unit].extents[extent];
    WeightRef ref{.unit = unit, .first_extent = extent};
    ref.rows = unit == plain ? 32 : static_cast<int64_t>(bytes.bytes / bytes.row_bytes);
    ref.cols = static_cast<int64_t>(bytes.bytes) / ref.rows / 4;
    lease.wait(0);
    return lease.view(0, ref);
  };
  const StoreNeeds needs = store_needs(weights.units, 2);
  for (const bool all : {true, false}) {
    MemoryBudget budget(UINT64_MAX);
    StoreOptions options = with_bytes(all ? needs.all : needs.minimum, IoChoice::kBuffered);
    options.weave = weave_rows;
    WeightStore store(weights.paths, weights.units, options, budget);
    store.load();
    for (int64_t row = 0; row < 40; row += 3) {  // among them rows that are left over
      const UnitRange range = {table, row, row + 2 > 40 ? 40 : row + 2};
      Lease lease = store.acquire({&range, 1});
      const WeightView view = view_of(lease, table, 0);
      EXPECT_EQ(view.rows, range.row_end - range.row_begin);
      expect_rows(view, weights.units[table].extents[0], row);
    }
    for (UnitId unit = dense; unit < weights.units.size(); ++unit) {
      const UnitRange range = {unit};
      Lease lease = store.acquire({&range, 1});
      for (uint8_t i = 0; i < weights.units[unit].extents.size(); ++i) {
        const WeightView view = view_of(lease, unit, i);
        const bool is_woven = unit != plain && (store.is_pinned(unit) || all);
        EXPECT_EQ(view.woven_rows, is_woven ? view.rows / 16 * 16 : 0) << "unit " << unit;
        Extent bytes = weights.units[unit].extents[i];
        bytes.row_bytes = bytes.bytes / static_cast<uint64_t>(view.rows);
        expect_rows(view, bytes, 0);
      }
    }
    EXPECT_EQ(store.has_slots(), !all);
    EXPECT_FALSE(store.is_pinned(first_expert) && !all);
  }
}

TEST(WeightStore, ChoosesAReaderThatItNames) {
  const SmallModel model;
  MemoryBudget budget(UINT64_MAX);
  StoreOptions options = with_bytes(store_needs(model.units, 3).minimum, IoChoice::kDirect);
  options.reader_factory = make_thread_reader;
  WeightStore store(model.paths, model.units, options, budget);
  EXPECT_EQ(store.describe_io().rfind("threads, O_DIRECT, depth 16", 0), 0u) << store.describe_io();
}

}  // namespace
}  // namespace sluice
