#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "platform/cgroup.h"
#include "platform/memory_budget.h"
#include "platform/memory_info.h"
#include "sluice/error.h"

namespace sluice {
namespace {

TEST(MemoryBudget, CountsByUseAndRefusesAboveTheLimit) {
  MemoryBudget budget(1000);
  budget.reserve(MemoryUse::kWeights, 600);
  EXPECT_TRUE(budget.try_reserve(MemoryUse::kKvCache, 400));
  EXPECT_FALSE(budget.try_reserve(MemoryUse::kScratch, 1));
  try {
    budget.reserve(MemoryUse::kKvCache, UINT64_MAX);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNoMemory);
    EXPECT_NE(std::string(error.what()).find("KV cache"), std::string::npos) << error.what();
  }
  EXPECT_EQ(budget.total(), 1000u);
  EXPECT_EQ(budget.free(), 0u);
  budget.release(MemoryUse::kWeights, 600);
  EXPECT_EQ(budget.used(MemoryUse::kWeights), 0u);
  EXPECT_EQ(budget.used(MemoryUse::kKvCache), 400u);
  EXPECT_EQ(budget.peak(), 1000u);
  EXPECT_EQ(budget.free(), 600u);
}

TEST(MemoryInfo, SeesTheMachineAndTheProcess) {
  const MemoryInfo info = memory_info();
  EXPECT_GT(info.total, 64u << 20);
  EXPECT_GT(info.available, 0u);
  EXPECT_LE(info.available, info.total);
  EXPECT_LE(info.ceiling(), info.total);
  EXPECT_LE(info.spare(), info.available);
  EXPECT_GT(resident_bytes(), 0u);
  // The kernel keeps both counts in batches per CPU, so the peak may lag by some pages.
  const uint64_t resident = resident_bytes();
  EXPECT_GE(peak_resident_bytes() + (1u << 20), resident);
}

TEST(MemoryInfo, SpareCountsPageCacheOfTheGroupAsFree) {
  MemoryInfo info;
  info.available = 1000;
  info.cgroup_limit = UINT64_MAX;
  EXPECT_EQ(info.spare(), 1000u);
  info.cgroup_limit = 500;
  info.cgroup_used = 400;
  info.cgroup_cache = 150;
  EXPECT_EQ(info.spare(), 250u);
}

TEST(PageBuffer, IsZeroAlignedAndGivenBack) {
  constexpr size_t kBytes = size_t{64} << 20;
  const uint64_t before = resident_bytes();
  {
    PageBuffer buffer(kBytes - 5);
    EXPECT_EQ(buffer.size(), kBytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
    EXPECT_EQ(buffer.data()[12345], std::byte{0});
    std::memset(buffer.data(), 1, kBytes);
    EXPECT_GE(resident_bytes(), before + kBytes / 2);
    PageBuffer moved = std::move(buffer);
    EXPECT_EQ(moved.data()[kBytes - 1], std::byte{1});
    EXPECT_EQ(buffer.data(), nullptr);  // NOLINT(bugprone-use-after-move)
  }
  EXPECT_LT(resident_bytes(), before + kBytes / 2);
}

TEST(PageBuffer, LocksWhatIsTouchedAndGivesItBackAllTheSame) {
  constexpr size_t kBytes = size_t{6} << 20;  // below the usual RLIMIT_MEMLOCK
  const uint64_t locked = locked_bytes();
  PageBuffer buffer(kBytes);
  if (!buffer.lock()) GTEST_SKIP() << "skipped: RLIMIT_MEMLOCK forbids it";
  std::memset(buffer.data(), 1, kBytes);
  EXPECT_EQ(locked_bytes(), locked + kBytes);
  const uint64_t resident = resident_bytes();
  buffer.give_back(100, kBytes);
  EXPECT_LE(resident_bytes() + kBytes - (size_t{1} << 20), resident);
  EXPECT_EQ(buffer.data()[99], std::byte{1});
  EXPECT_EQ(buffer.data()[8192], std::byte{0});
  std::memset(buffer.data(), 1, kBytes);
  EXPECT_EQ(locked_bytes(), locked + kBytes);
  buffer = PageBuffer();
  EXPECT_EQ(locked_bytes(), locked);
}

TEST(PageBuffer, RefusesTheImpossible) {
  EXPECT_THROW(PageBuffer(SIZE_MAX), Error);
  EXPECT_THROW(PageBuffer(size_t{1} << 60), Error);
  EXPECT_EQ(PageBuffer(0).data(), nullptr);
}

constexpr char kMountinfo[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 master:2 - cgroup cgroup rw,memory\n"
    "36 31 0:33 /docker/abc /mnt/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(Cgroups, FindsBothHierarchies) {
  const auto found = parse_cgroups("memory", "4:memory:/a/b\n0::/c\n", kMountinfo);
  const std::vector<std::string> v1 = {"/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a",
                                       "/sys/fs/cgroup/memory"};
  const std::vector<std::string> v2 = {"/sys/fs/cgroup/unified/c", "/sys/fs/cgroup/unified"};
  EXPECT_EQ(found.v1, v1);
  EXPECT_EQ(found.v2, v2);
}

TEST(Cgroups, StripsTheRootOfAPartialMount) {
  const auto inside = parse_cgroups("cpu", "1:cpu,cpuacct:/docker/abc/job\n", kMountinfo);
  EXPECT_EQ(inside.v1, (std::vector<std::string>{"/mnt/cpu/job", "/mnt/cpu"}));
  EXPECT_TRUE(inside.v2.empty());
  const auto outside = parse_cgroups("cpu", "1:cpu,cpuacct:/docker/abcd\n", kMountinfo);
  EXPECT_EQ(outside.v1, (std::vector<std::string>{"/mnt/cpu"}));
}

TEST(Cgroups, BearsNonsense) {
  EXPECT_TRUE(parse_cgroups("memory", "", "").v1.empty());
  EXPECT_TRUE(parse_cgroups("memory", "garbage\n::\n:", "x y\n\n- - -").v1.empty());
  const auto above = parse_cgroups("memory", "1:memory:/../..\n", kMountinfo);
  EXPECT_EQ(above.v1, (std::vector<std::string>{"/sys/fs/cgroup/memory"}));
}

}  // namespace
}  // namespace sluice
