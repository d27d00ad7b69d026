#include "engine/memory_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/units.h"
#include "sluice/error.h"

namespace sluice {
namespace {

MemoryRequest request_of(uint64_t ram) {
  return {.ram_bytes = ram,
          .process_bytes = 20 * kMiB,
          .margin_bytes = 10 * kMiB,
          .peak_bytes = 25 * kMiB,
          .kv_bytes = 100 * kMiB,
          .weights = {.all = 4 * kGiB, .minimum = 64 * kMiB, .one_token = 128 * kMiB},
          .weight_limit = UINT64_MAX,
          .chunk = 0,
          .scratch_bytes = [](int64_t chunk) { return static_cast<uint64_t>(chunk) * kMiB / 2; }};
}

TEST(MemoryPlan, EverythingResidentWithTheLargestChunk) {
  const MemoryPlan plan = plan_memory(request_of(6 * kGiB));
  EXPECT_TRUE(plan.fits);
  EXPECT_EQ(plan.chunk, 512);
  EXPECT_GE(plan.weight_bytes, 4 * kGiB);
}

TEST(MemoryPlan, TheSmallestThatIsNamedFitsAlsoWhenTheProcessHasGrown) {
  EXPECT_TRUE(rc::check([] {
    MemoryRequest request = request_of(0);
    request.process_bytes = *rc::gen::inRange<uint64_t>(0, 100 * kMiB);
    request.kv_bytes = *rc::gen::inRange<uint64_t>(0, 2 * kGiB);
    request.weights.minimum = *rc::gen::inRange<uint64_t>(0, 1 * kGiB);
    request.chunk = *rc::gen::element<int64_t>(0, 1, 100);
    request.peak_bytes = *rc::gen::inRange<uint64_t>(0, 100 * kMiB);
    const uint64_t smallest = plan_memory(request).smallest_ram;
    request.ram_bytes = smallest;
    const MemoryPlan plan = plan_memory(request);
    RC_ASSERT(plan.fits);
    RC_ASSERT(plan.weight_bytes >= request.weights.minimum);
    const uint64_t growth = kMiB / 2 + request.process_bytes / 32;
    request.process_bytes += growth;
    RC_ASSERT(plan_memory(request).fits);
    request.process_bytes -= growth;
    request.ram_bytes = smallest - growth - kMiB - 1;
    RC_ASSERT(!plan_memory(request).fits);
  }));
}

// `--ram auto` takes no more than changes something.
TEST(MemoryPlan, BeyondTheKneeNothingChanges) {
  for (const uint64_t limit : {UINT64_MAX, kGiB}) {
    MemoryRequest request = request_of(0);
    request.weight_limit = limit;
    request.ram_bytes = plan_memory(request).knee_ram;
    const MemoryPlan knee = plan_memory(request);
    request.ram_bytes = 64 * kGiB;
    const MemoryPlan ample = plan_memory(request);
    EXPECT_EQ(knee.chunk, ample.chunk);
    EXPECT_GE(knee.weight_bytes, std::min(request.weights.all, limit));
    request.ram_bytes = ample.knee_ram - 3 * kMiB;  // what is named has room for growth, and is rounded up
    EXPECT_LT(plan_memory(request).weight_bytes + plan_memory(request).scratch_bytes,
              knee.weight_bytes + knee.scratch_bytes);
  }
  MemoryInfo machine;
  machine.total = machine.cgroup_limit = 8 * kGiB;
  EXPECT_EQ(explain_auto(6 * kGiB, 2 * kGiB, machine).rfind("auto takes 2.00 GiB: all weights", 0), 0u);
  EXPECT_EQ(
      explain_auto(6 * kGiB, 9 * kGiB, machine).rfind("auto takes 6.00 GiB, what others leave of 8.00", 0),
      0u);
}

TEST(MemoryPlan, TheComfortableAndTheOneTokenBudgetHoldWhatTheySay) {
  MemoryRequest request = request_of(0);
  const MemoryPlan named = plan_memory(request);
  request.ram_bytes = named.comfortable_ram;
  EXPECT_GE(plan_memory(request).weight_bytes, request.weights.all);
  request.ram_bytes = named.one_token_ram;
  EXPECT_GE(plan_memory(request).weight_bytes, request.weights.one_token);
}

TEST(MemoryPlan, ThePartsNeverExceedTheWhole) {
  EXPECT_TRUE(rc::check([] {
    MemoryRequest request = request_of(*rc::gen::inRange<uint64_t>(0, 8 * kGiB));
    request.weight_limit = *rc::gen::element<uint64_t>(UINT64_MAX, 1 * kGiB);
    const MemoryPlan plan = plan_memory(request);
    if (!plan.fits) return;
    RC_ASSERT(request.process_bytes + request.margin_bytes + request.kv_bytes + plan.scratch_bytes +
                  plan.weight_bytes <=
              request.ram_bytes);
    RC_ASSERT(plan.budget_bytes + request.process_bytes + request.margin_bytes == request.ram_bytes);
    RC_ASSERT(plan.weight_bytes <= request.weight_limit);
  }));
}

TEST(MemoryPlan, ATightBudgetGetsASmallerChunk) {
  const MemoryPlan plan = plan_memory(request_of(1 * kGiB));
  ASSERT_TRUE(plan.fits);
  EXPECT_EQ(plan.chunk, 128);  // 64 MiB of scratch: a sixteenth
}

TEST(MemoryPlan, AutoLeavesRoomForOthers) {
  MemoryInfo machine;
  machine.total = 16 * kGiB;
  machine.available = 8 * kGiB;
  machine.cgroup_limit = UINT64_MAX;
  EXPECT_EQ(parse_ram("auto", machine, 10 * kMiB), 7 * kGiB + 10 * kMiB);
  machine.available = 2 * kGiB;
  EXPECT_EQ(parse_ram("auto", machine, 0), 2 * kGiB - kGiB / 2);
  machine.available = 16 * kGiB;
  EXPECT_EQ(parse_ram("auto", machine, 0), machine.total / 10 * 9);
  EXPECT_EQ(parse_ram("50%", machine, 0), 8 * kGiB);
  EXPECT_EQ(parse_ram("3G", machine, 0), 3 * kGiB);
  EXPECT_THROW(parse_ram("much", machine, 0), Error);
}

TEST(MemoryPlan, WeightsByPercentAndMinimum) {
  const StoreNeeds needs = {.all = 1000, .minimum = 100, .one_token = 200};
  EXPECT_EQ(parse_weights("", needs), UINT64_MAX);
  EXPECT_EQ(parse_weights("40%", needs), 400U);
  EXPECT_EQ(parse_weights("min", needs), 100U);
  EXPECT_EQ(parse_weights("512M", needs), 512 * kMiB);
}

}  // namespace
}  // namespace sluice
