#include "plan/diagnosis.h"

#include <gtest/gtest.h>

#include <functional>

namespace sluice {
namespace {

// Nothing to complain about.
HardwareProfile healthy() {
  HardwareProfile p;
  p.machine.cpus_online = p.machine.cpus_allowed = 8;
  p.machine.memory_bytes = uint64_t{16} << 30;
  p.machine.io_uring = true;
  p.machine.huge_pages = "madvise";
  p.machine.governor = "performance";
  p.disk_facts = {.path = "/models", .file_system = "ext4", .device = "259:1", .rotational = false};
  for (const uint64_t depth : {1, 32}) p.disk.push_back({256 << 10, depth, true, DiskPattern::kRandom, 2e9});
  p.disk.push_back({1 << 20, 16, true, DiskPattern::kInOrder, 3e9});
  p.reads = {{.n_threads = 8, .huge_pages = true, .bytes_per_second = 40e9}};
  return p;
}

TEST(Diagnosis, FindsNothingWhereNothingIsWrong) { EXPECT_TRUE(diagnose(healthy()).empty()); }

TEST(Diagnosis, NamesEachTroubleAndItsRemedy) {
  struct Case {
    std::function<void(HardwareProfile&)> spoil;
    bool problem;
    const char* word;    // in what
    const char* remedy;  // in remedy
  };
  const Case cases[] = {
      {[](auto& p) { p.machine.io_uring = false; }, true, "io_uring", "sysctl"},
      {[](auto& p) {
         p.disk = {{1 << 20, 16, false, DiskPattern::kInOrder, 3e9}};
       },
       true, "O_DIRECT", "ext4"},
      {[](auto& p) { p.reads[0].huge_pages = false; }, true, "huge pages", "compact_memory"},
      {[](auto& p) {
         p.reads[0].huge_pages = false;
         p.machine.huge_pages = "never";
       },
       true, "switched off", "transparent_hugepage"},
      {[](auto& p) {
         p.machine.memlock_bytes = 8 << 20;
         p.machine.swap_bytes = 1 << 30;
       },
       false, "RLIMIT_MEMLOCK", "ulimit -l"},
      {[](auto& p) {
         p.disk.clear();
         p.disk.push_back({1 << 20, 16, true, DiskPattern::kInOrder, 0.2e9});
       },
       true, "0.20 GB/s", "NVMe"},
      {[](auto& p) {
         p.disk.push_back({1 << 20, 16, false, DiskPattern::kInOrder, 0.5e9});
       },
       true, "0.50 and 3.00 GB/s", "cat FILE"},
      {[](auto& p) { p.disk[0].bytes_per_second = 0.3e9; }, false, "at a time", ""},
      {[](auto& p) { p.machine.cgroup_bytes = uint64_t{4} << 30; }, false, "4.00 GiB", "limit"},
      {[](auto& p) { p.machine.swap_used_bytes = uint64_t{2} << 30; }, true, "swap", "--ram"},
      {[](auto& p) { p.machine.governor = "powersave"; }, false, "powersave", "cpupower"},
      {[](auto& p) { p.machine.cpus_allowed = 2; }, false, "2 of 8", "taskset"},
      {[](auto& p) { p.machine.throttled = 3; }, true, "heat", "air"},
      {[](auto& p) { p.machine.load = 6; }, true, "load 6.0", "quiet"},
      {[](auto& p) { p.disk_facts.network = true; }, true, "network", "drive"},
      {[](auto& p) {
         p.disk_facts.rotational = true;
         p.disk[0].bytes_per_second = p.disk[1].bytes_per_second = 40e6;
       },
       true, "rotating", "SSD"},
      {[](auto& p) { p.disk_facts.memory = true; }, false, "tmpfs", "--path"},
      {[](auto& p) { p.disk_facts.celsius = 78; }, true, "78 degrees", "heat sink"},
  };
  for (const Case& c : cases) {
    HardwareProfile p = healthy();
    c.spoil(p);
    const std::vector<Finding> findings = diagnose(p);
    ASSERT_EQ(findings.size(), 1U) << c.word;
    EXPECT_EQ(findings[0].problem, c.problem) << c.word;
    EXPECT_NE(findings[0].what.find(c.word), std::string::npos) << findings[0].what;
    EXPECT_NE(findings[0].remedy.find(c.remedy), std::string::npos) << findings[0].remedy;
  }
}

TEST(Diagnosis, DoesNotBelieveAFastDriveThatItRotates) {
  HardwareProfile p = healthy();
  p.disk_facts.rotational = true;
  EXPECT_TRUE(diagnose(p).empty());
}

TEST(Diagnosis, ProblemsComeFirst) {
  HardwareProfile p = healthy();
  p.machine.cpus_allowed = 2;
  p.machine.throttled = 1;
  const std::vector<Finding> findings = diagnose(p);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_TRUE(findings[0].problem);
}

}  // namespace
}  // namespace sluice
