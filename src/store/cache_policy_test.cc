#include "store/cache_policy.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sluice/error.h"
#include "store/cache_simulator.h"

namespace sluice {
namespace {

// A policy with unit u in slot u, and groups as given.
struct Filled {
  std::unique_ptr<CachePolicy> policy;
  std::vector<uint32_t> groups;

  Filled(const char* name, std::vector<uint32_t> group_of, size_t n_slots)
      : policy(make_cache_policy(name)), groups(std::move(group_of)) {
    policy->reset(CacheGeometry(n_slots, groups));
    for (UnitId unit = 0; unit < n_slots; ++unit) {
      policy->begin(groups[unit]);
      policy->on_insert(unit, unit);
    }
  }
  size_t victim() {
    return policy->victim([](size_t) { return true; });
  }
  size_t victim_of(std::vector<size_t> slots) {
    return policy->victim(
        [&](size_t slot) { return std::find(slots.begin(), slots.end(), slot) != slots.end(); });
  }
  void passes(int n) {  // that use nothing
    for (int i = 0; i < n; ++i) policy->begin(0);
  }
};

TEST(CachePolicy, LruGivesUpTheOldest) {
  Filled lru("lru", {0, 0, 0, 0}, 3);
  lru.policy->on_hit(0, 0);
  EXPECT_EQ(lru.victim(), 1U);
  EXPECT_EQ(lru.victim_of({0, 2}), 2U);
  lru.policy->on_insert(1, 3);
  EXPECT_EQ(lru.victim(), 2U);
}

TEST(CachePolicy, ClockGivesASecondChance) {
  Filled clock("clock", {0, 0, 0, 0}, 3);
  EXPECT_EQ(clock.victim(), 0U);  // all were used: round once
  clock.policy->on_insert(0, 3);
  clock.policy->on_hit(1, 1);
  EXPECT_EQ(clock.victim(), 2U);
  EXPECT_EQ(clock.victim_of({0}), 0U);
}

TEST(CachePolicy, LfuGivesUpTheLeastUsedAndForgets) {
  Filled lfu("lfu", {0, 0, 0, 0}, 3);
  for (const UnitId unit : {0U, 0U, 2U}) lfu.policy->on_hit(unit, unit);
  EXPECT_EQ(lfu.victim(), 1U);
  EXPECT_EQ(lfu.victim_of({0, 2}), 2U);
  lfu.policy->on_prefetch(1, 3);  // which nobody has used
  EXPECT_EQ(lfu.victim(), 1U);
  lfu.passes(10 * 64);
  lfu.policy->on_hit(1, 3);  // one use now is more than three that long ago
  EXPECT_EQ(lfu.victim(), 2U);
  lfu.passes(600 * 64);  // beyond what one scale can hold
  lfu.policy->on_hit(2, 2);
  EXPECT_EQ(lfu.victim(), 0U);
  // What was evicted comes back with its uses.
  lfu.policy->on_insert(0, 1);
  lfu.policy->on_hit(0, 1);
  lfu.policy->on_insert(2, 0);
  lfu.policy->on_insert(1, 2);
  EXPECT_EQ(lfu.victim_of({0, 1, 2}), 2U);
}

TEST(CachePolicy, S3FifoKeepsWhatIsUsedAgainAndRemembersWhoLeft) {
  Filled s3fifo("s3fifo", std::vector<uint32_t>(20, 0), 10);  // a small queue of one slot
  EXPECT_EQ(s3fifo.victim(), 0U);
  s3fifo.policy->on_insert(0, 10);
  for (int i = 0; i < 2; ++i) s3fifo.policy->on_hit(1, 1);
  EXPECT_EQ(s3fifo.victim(), 2U);  // 1 has moved to the main queue
  s3fifo.policy->on_insert(2, 0);  // who left is back: into the main queue, too
  EXPECT_EQ(s3fifo.victim(), 3U);
  EXPECT_EQ(s3fifo.victim_of({1, 2}), 1U);  // the main queue's oldest
  s3fifo.policy->on_hit(1, 1);
  EXPECT_EQ(s3fifo.victim_of({1, 2}), 2U);  // which is passed over once it was used
}

TEST(CachePolicy, LcpWeighsUsesAgainstAgeAndDepth) {
  Filled lcp("lcp", {0, 0, 1, 1}, 2);  // two units used once in passes of their own
  lcp.policy->on_hit(0, 0);            // twice: worth 64 passes of age
  lcp.passes(58);
  lcp.policy->on_hit(1, 1);
  lcp.policy->on_hit(1, 1);
  EXPECT_EQ(lcp.victim(), 0U);
  for (int i = 0; i < 9; ++i) lcp.policy->on_hit(0, 0);
  EXPECT_EQ(lcp.victim(), 1U);
  Filled depth("lcp", {0, 1, 0, 1}, 2);  // as often and as late
  EXPECT_EQ(depth.victim(), 1U);
}

TEST(CachePolicy, LeastStaleGivesUpWhatWasNotUsedInThisPassAndComesLatest) {
  Filled stale("least-stale", {0, 1, 2, 3}, 4);
  stale.policy->begin(0);
  stale.policy->on_hit(0, 0);
  stale.policy->begin(1);
  EXPECT_EQ(stale.victim(), 1U);  // its group has its turn now, and next in a whole pass
  EXPECT_EQ(stale.victim_of({0, 2, 3}), 3U);
  EXPECT_EQ(stale.victim_of({0, 2}), 2U);
  EXPECT_EQ(stale.victim_of({0}), 0U);
}

TEST(CachePolicy, ForwardGivesUpWhatIsExpectedLast) {
  Filled forward("forward", {0, 0, 1}, 3);
  for (int pass = 0; pass < 20; ++pass) {
    forward.policy->begin(0);
    forward.policy->on_hit(0, 0);
    forward.policy->begin(1);
    forward.policy->on_hit(2, 2);
  }
  EXPECT_EQ(forward.victim(), 1U);  // used once in all these passes
  EXPECT_EQ(forward.victim_of({0, 2}), 2U);
  forward.policy->begin(0);
  EXPECT_EQ(forward.victim_of({0, 2}), 0U);
  const Expectation soon = {.unit = 1, .probability = 1, .groups_ahead = 1};
  forward.policy->expect({&soon, 1});
  EXPECT_EQ(forward.victim_of({0, 1}), 0U);
  forward.policy->expect({});
  EXPECT_EQ(forward.victim_of({0, 1}), 1U);
}

// Before anything was used, what former runs used most stays; what is then used overcomes that.
TEST(CachePolicy, CountersStartFromWhatFormerRunsUsed) {
  for (const char* name : {"forward", "lfu"}) {
    for (const char* split : {"shared", "measured"}) {
      const std::vector<uint32_t> groups = {0, 0, 0};
      const auto policy = make_cache_policy(name, split);
      policy->reset(CacheGeometry(3, groups));
      policy->seed(std::vector<float>{0.5F, 0.1F, 0.3F});
      for (UnitId unit = 0; unit < 3; ++unit) policy->on_prefetch(unit, unit);
      const auto victim = [&] { return policy->victim([](size_t) { return true; }); };
      EXPECT_EQ(victim(), 1U) << name;
      policy->begin(0);
      EXPECT_EQ(victim(), 1U) << name;
      for (int pass = 0; pass < 200; ++pass) {
        policy->begin(0);
        policy->on_hit(1, 1);
        if (pass % 5 == 0) policy->on_hit(2, 2);
      }
      EXPECT_EQ(victim(), 0U) << name;
    }
  }
}

TEST(CacheSplit, PrefersGroupsThatHoldMoreThanTheirShare) {
  const std::vector<uint32_t> groups = {0, 0, 0, 0, 1, 1, 1, 1};
  const auto split = make_cache_policy("lru", "measured");
  EXPECT_EQ(split->name(), "lru+measured");
  split->reset(CacheGeometry(4, groups));  // two slots each
  const auto all = [](size_t) { return true; };
  split->begin(0);
  for (UnitId unit = 0; unit < 4; ++unit) split->on_insert(unit, unit);
  split->begin(1);
  for (const UnitId unit : {4U, 5U}) {
    EXPECT_EQ(split->victim(all), unit - 4);
    split->on_insert(unit - 4, unit);
  }
  EXPECT_EQ(split->victim(all), 0U);  // a third of group 1 takes the place of its own, not of the oldest
  EXPECT_EQ(split->victim([](size_t slot) { return slot > 1; }), 2U);  // unless those may not go
}

TEST(CacheSplit, MovesSlotsToWhereMissesAre) {
  CacheSimulator simulator({0, 0, 0, 0, 1, 1, 1, 1}, 4, make_cache_policy("lru", "measured"));
  uint64_t early = 0, late = 0;
  for (int pass = 0; pass < 60; ++pass) {
    simulator.acquire(pass == 0 ? std::vector<UnitId>{1, 0} : std::vector<UnitId>{0});
    const uint64_t missed = simulator.acquire(std::vector<UnitId>{4 + static_cast<UnitId>(pass) % 3});
    if (pass >= 2 && pass < 10) early += missed;
    if (pass >= 50) late += missed;
  }
  EXPECT_GT(early, 0U);
  EXPECT_EQ(late, 0U);
}

TEST(CachePolicy, UnknownNamesAreRefusedWithAllThatThereAre) {
  const auto message_of = [](const std::string& name, const std::string& split) -> std::string {
    try {
      make_cache_policy(name, split);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(message_of("fifo", "shared"),
            "there is no cache policy \"fifo\": choose forward, lru, clock, lfu, s3fifo, lcp or least-stale");
  EXPECT_EQ(message_of("lru", "half"), "there is no cache split \"half\": choose shared or measured");
}

// Whatever was called before, the victim may be evicted.
TEST(CachePolicy, AnyVictimIsEvictable) {
  for (const std::string_view name : cache_policy_names()) {
    for (const std::string_view split_name : cache_split_names()) {
      const std::string policy_name(name), split(split_name);
      EXPECT_TRUE(rc::check([&] {
        const auto n_slots = *rc::gen::inRange<size_t>(1, 25);
        const auto n_groups = *rc::gen::inRange<uint32_t>(1, 5);
        std::vector<uint32_t> groups;
        for (uint32_t unit = 0; unit < 40; ++unit) groups.push_back(unit / 5 % 2 ? unit % n_groups : 0);
        const auto policy = make_cache_policy(policy_name, split);
        policy->reset(CacheGeometry(n_slots, groups));
        std::vector<UnitId> held;
        const auto ops = *rc::gen::container<std::vector<std::pair<uint8_t, uint32_t>>>(
            rc::gen::pair(rc::gen::inRange<uint8_t>(0, 8), rc::gen::arbitrary<uint32_t>()));
        for (const auto& [op, x] : ops) {
          const UnitId unit = x % 40;
          if (op == 0) {
            policy->begin(x % n_groups);
          } else if (op == 1) {
            const Expectation one = {unit, static_cast<float>(x % 5) / 4, x % 7};
            policy->expect({&one, 1});
          } else if (op < 5 && !held.empty()) {
            const size_t slot = x % held.size();
            policy->on_hit(slot, held[slot]);
          } else if (std::find(held.begin(), held.end(), unit) == held.end()) {
            size_t slot = held.size();
            if (slot < n_slots) {
              held.push_back(unit);
            } else {
              const uint32_t only = x / 64 | 1U << x % n_slots;  // some slots, one at least
              const auto evictable = [&](size_t s) { return (only >> s & 1) != 0; };
              slot = policy->victim(evictable);
              RC_ASSERT(slot < n_slots);
              RC_ASSERT(evictable(slot));
              held[slot] = unit;
            }
            op == 7 ? policy->on_prefetch(slot, unit) : policy->on_insert(slot, unit);
          }
        }
      })) << policy_name
          << ", " << split;
    }
  }
}

}  // namespace
}  // namespace sluice
