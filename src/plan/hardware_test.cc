#include "plan/hardware.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

HardwareProfile profile() {
  HardwareProfile p;
  p.measured_at = 1'700'000'000;
  p.isa = "avx2";
  p.n_threads = 4;
  p.machine.cpu = "A CPU";
  p.machine.memlock_bytes = 65536;
  p.disk_facts = {.path = "/models", .file_system = "ext4", .device = "8:1", .rotational = false};
  for (const uint64_t block : {4096, 65536})
    for (const uint64_t depth : {1, 4})
      p.disk.push_back({block, depth, true, DiskPattern::kRandom, static_cast<double>(block * depth)});
  p.disk.push_back({1 << 20, 16, true, DiskPattern::kInOrder, 3e9});
  p.disk.push_back({1 << 20, 16, false, DiskPattern::kInOrder, 2e9});
  p.reads = {{.n_threads = 1, .bytes_per_second = 8e9}, {.n_threads = 4, .bytes_per_second = 20e9}};
  p.arithmetic = {.int8 = 1e12, .f32 = 2e11, .bf16 = 0};
  p.products = {
      {.encoding = "q4_0", .bytes_per_second = {16e9, 8e9, 4e9, 1e9, 0.25e9}, .bits_per_weight = 4.5}};
  p.attention = {.bytes_per_second = 5e9, .operations_per_second = 1e11};
  return p;
}

TEST(HardwareProfile, ComesBackFromItsJson) {
  const nlohmann::ordered_json json = to_json(profile());
  const HardwareProfile back = profile_from_json(nlohmann::ordered_json::parse(json.dump()), "x");
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.machine.memlock_bytes, 65536U);
  EXPECT_EQ(back.machine.cgroup_bytes, UINT64_MAX);
  EXPECT_EQ(back.disk_facts.rotational, false);
  EXPECT_EQ(back.memory_peak(), 20e9);
}

TEST(HardwareProfile, RefusesWhatItDidNotWrite) {
  const auto refused = [](const std::function<void(nlohmann::ordered_json&)>& spoil) {
    nlohmann::ordered_json json = to_json(profile());
    spoil(json);
    try {
      profile_from_json(json, "hardware.json");
      ADD_FAILURE() << json.dump().substr(0, 200);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
      EXPECT_EQ(std::string(error.what()).rfind("hardware.json: ", 0), 0U) << error.what();
    }
  };
  refused([](auto& json) { json["version"] = 0; });
  refused([](auto& json) { json.erase("machine"); });
  refused([](auto& json) { json["disk"]["speeds"] = nlohmann::ordered_json::array(); });
  refused([](auto& json) { json["reads"] = nlohmann::ordered_json::array(); });
  refused([](auto& json) { json["products"][0]["bytes_s"][1] = 0; });
  refused([](auto& json) { json["products"][0]["bytes_s"] = "fast"; });
  refused([](auto& json) { json["threads"] = "four"; });
  refused([](auto& json) { json = nlohmann::ordered_json::array(); });
}

TEST(HardwareProfile, ReadsItsTableBetweenThePoints) {
  const HardwareProfile p = profile();
  EXPECT_DOUBLE_EQ(p.disk_speed(4096, 1), 4096);
  EXPECT_DOUBLE_EQ(p.disk_speed(65536, 4), 4 * 65536);
  EXPECT_DOUBLE_EQ(p.disk_speed(4096, 2), (4096 + 4 * 4096) / 2.0);  // halfway on a scale of powers
  EXPECT_DOUBLE_EQ(p.disk_speed(16384, 1), (4096 + 65536) / 2.0);
  EXPECT_DOUBLE_EQ(p.disk_speed(1 << 20, 64), 4 * 65536);  // the edge
  EXPECT_DOUBLE_EQ(p.disk_speed(2048, 1), 2048);           // in proportion
  EXPECT_DOUBLE_EQ(p.disk_sequential(true), 3e9);
  EXPECT_DOUBLE_EQ(p.disk_sequential(false), 2e9);
  EXPECT_DOUBLE_EQ(p.disk_speed(65536, 1, DiskPattern::kBurst), 3e9);  // not measured: what there is
  EXPECT_TRUE(p.has_direct());

  HardwareProfile buffered = p;
  buffered.disk = {{1 << 20, 16, false, DiskPattern::kInOrder, 2e9}};
  EXPECT_FALSE(buffered.has_direct());
  EXPECT_DOUBLE_EQ(buffered.disk_speed(4096, 8), 2e9);
  EXPECT_DOUBLE_EQ(buffered.disk_sequential(true), 2e9);
}

TEST(HardwareProfile, KnowsItsKernels) {
  const HardwareProfile p = profile();
  EXPECT_DOUBLE_EQ(p.product_speed("q4_0", 1), 16e9);
  EXPECT_DOUBLE_EQ(p.product_speed("q4_0", 256), 0.25e9);
  EXPECT_DOUBLE_EQ(p.product_speed("q4_0", 0.5), 16e9);
  EXPECT_DOUBLE_EQ(p.product_speed("q4_0", 1024), 0.25e9 / 4);  // as many rows a second
  EXPECT_LT(p.product_speed("q4_0", 8), 8e9);
  EXPECT_GT(p.product_speed("q4_0", 8), 4e9);
  EXPECT_EQ(p.product_speed("q8_0", 1), 0);
  // 256 rows at 0.25 GB/s of 4.5-bit weights
  EXPECT_NEAR(p.products[0].operations_per_second(4), 2 * 256 * 0.25e9 * 8 / 4.5, 1);
}

TEST(DiskTestFile, HasNoNameAndItsSize) {
  const test::Scratch scratch;
  {
    const DiskTestFile file(scratch.path().string(), 80 << 20);
    EXPECT_TRUE(fs::is_empty(scratch.path()));
    EXPECT_EQ(fs::file_size(file.path()), 80U << 20);
    uint64_t steps = 0, total = 0;
    const std::vector<DiskSpeed> table =
        measure_disk(file.path(), {65536}, {1, 4}, 0.01, [&](uint64_t done, uint64_t all) {
          steps = done;
          total = all;
        });
    for (const DiskSpeed& s : table) EXPECT_GT(s.bytes_per_second, 0);
    EXPECT_EQ(table.back().direct, false);
    EXPECT_EQ(steps, table.size());
    EXPECT_LE(steps, total);
  }
  EXPECT_TRUE(fs::is_empty(scratch.path()));
}

TEST(DiskTestFile, RefusesPolitely) {
  const auto refused = [](const std::function<void()>& make, const std::string& word) {
    try {
      make();
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused([] { DiskTestFile("/no/such/directory", 1 << 20); }, "/no/such/directory");
  refused([] { DiskTestFile(".", uint64_t{1} << 60); }, "--file");
  const test::Scratch scratch;
  const std::string small = scratch.write("small", "");
  refused([&] { measure_disk(small, {65536}, {1}, 0.01); }, "64.0 MiB or more");
}

}  // namespace
}  // namespace sluice
