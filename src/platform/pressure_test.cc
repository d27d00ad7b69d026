#include "platform/pressure.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "platform/clock.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Files as the kernel would show them.
class PressureTest : public testing::Test {
 protected:
  PressureTest() {
    for (const char* group : {"v1/parent/child", "v2/child"}) fs::create_directories(root_ / group);
    write("meminfo", "MemTotal: 1000 kB\nMemAvailable:   900 kB\n");
    write("statm", "5000 3 1 0 0 0 0\n");
  }

  void write(const std::string& name, const std::string& text) const { std::ofstream(root_ / name) << text; }
  std::string at(const std::string& name) const { return (root_ / name).string(); }
  PressurePaths paths(std::vector<std::string> v1, std::vector<std::string> v2) const {
    return {{std::move(v1), std::move(v2)}, at("psi"), at("meminfo"), at("statm")};
  }

  test::Scratch scratch_;
  fs::path root_ = scratch_.path();
};

TEST_F(PressureTest, SeesTheMachineAndItself) {
  const auto source = make_pressure_source(paths({}, {}));
  const Pressure pressure = source->look(0);
  EXPECT_EQ(pressure.free, 900u * 1024);
  EXPECT_EQ(pressure.own, 3u * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_FALSE(pressure.alarm);
  EXPECT_EQ(source->describe(), "MemAvailable");
}

TEST_F(PressureTest, SeesTheTightestGroupOfVersion1) {
  write("v1/parent/memory.limit_in_bytes", "500000\n");
  write("v1/parent/memory.usage_in_bytes", "400000\n");
  write("v1/parent/memory.failcnt", "7\n");
  write("v1/parent/memory.stat",
        "cache 1\nshmem 1\ntotal_cache 90000\ntotal_shmem 20000\n");  // of which 70000 can go
  write("v1/parent/child/memory.limit_in_bytes", "9223372036854771712\n");
  write("v1/parent/child/memory.usage_in_bytes", "300000\n");
  const auto source = make_pressure_source(paths({at("v1/parent/child"), at("v1/parent")}, {}));
  EXPECT_EQ(source->look(0).free, 170'000u);
  EXPECT_EQ(source->describe(), "cgroup v1, MemAvailable");
  write("v1/parent/memory.usage_in_bytes", "460000\n");
  EXPECT_EQ(source->look(0).free, 110'000u);
  EXPECT_FALSE(source->look(0).alarm);
  write("v1/parent/memory.failcnt", "9\n");
  EXPECT_TRUE(source->look(0).alarm);
  EXPECT_FALSE(source->look(0).alarm);  // told once
  // A limit that comes later.
  write("v1/parent/child/memory.limit_in_bytes", "310000\n");
  EXPECT_EQ(source->look(0).free, 10'000u);
}

TEST_F(PressureTest, SeesLimitsAndEventsOfVersion2) {
  write("v2/child/memory.max", "max\n");
  write("v2/child/memory.high", "max\n");
  write("v2/child/memory.current", "400000\n");
  write("v2/child/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
  write("v2/child/memory.stat", "anon 5\nfile 50000\nshmem 50000\n");
  const auto source = make_pressure_source(paths({}, {at("v2/child"), at("v2")}));
  EXPECT_EQ(source->look(0).free, 900u * 1024);
  write("v2/child/memory.high", "450000\n");
  EXPECT_EQ(source->look(0).free, 50'000u);
  write("v2/child/memory.max", "420000\n");
  EXPECT_EQ(source->look(0).free, 20'000u);
  EXPECT_FALSE(source->look(0).alarm);
  write("v2/child/memory.events", "low 0\nhigh 3\nmax 0\noom 0\noom_kill 0\n");
  EXPECT_TRUE(source->look(0).alarm);
  EXPECT_EQ(source->describe(), "cgroup v2, MemAvailable");
}

TEST_F(PressureTest, WaitsUntilItIsWoken) {
  const auto source = make_pressure_source(paths({}, {}));
  uint64_t begin = monotonic_ns();
  source->look(30);
  EXPECT_GE(monotonic_ns() - begin, 25'000'000u);
  begin = monotonic_ns();
  std::thread waker([&] { source->wake(); });
  source->look(60'000);
  waker.join();
  EXPECT_LT(monotonic_ns() - begin, 30'000'000'000u);
}

TEST(PressureSource, WatchesThisMachine) {
  const auto source = make_pressure_source();
  const Pressure pressure = source->look(0);
  EXPECT_GT(pressure.free, 0u);
  EXPECT_GT(pressure.own, 1u << 20);
  EXPECT_NE(source->describe().find("MemAvailable"), std::string::npos) << source->describe();
}

}  // namespace
}  // namespace sluice
