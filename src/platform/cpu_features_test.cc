#include "platform/cpu_features.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace sluice {
namespace {

// The words of a line of what the kernel says of the first CPU; empty where it spells features otherwise.
std::set<std::string> kernel_words(const std::string& name) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(name, 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(CpuFeatures, AgreeWithTheKernel) {
  const std::set<std::string> flags = kernel_words("flags");
  if (flags.empty()) GTEST_SKIP() << "skipped: /proc/cpuinfo lists no flags here";
  const auto has = [&flags](const char* flag) { return flags.count(flag) > 0; };
  const CpuFeatures& f = cpu_features();
  EXPECT_EQ(f.avx2, has("avx2") && has("fma") && has("f16c"));
  EXPECT_EQ(f.avx_vnni, f.avx2 && has("avx_vnni"));
  EXPECT_EQ(f.avx512, f.avx2 && has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq"));
  EXPECT_EQ(f.avx512_vnni, f.avx512 && has("avx512_vnni"));
  EXPECT_EQ(f.avx512_bf16, f.avx512 && has("avx512_bf16"));
  EXPECT_EQ(f.bf16_is_fast, f.avx512_bf16 && kernel_words("vendor_id").count("AuthenticAMD") > 0);
  EXPECT_EQ(f.avx512_vbmi, f.avx512 && has("avx512vbmi"));
  EXPECT_EQ(f.amx_int8, has("amx_int8") && has("amx_tile"));
}

TEST(CpuFeatures, NameIsOneLine) {
  EXPECT_FALSE(cpu_name().empty());
  EXPECT_EQ(cpu_name().find('\n'), std::string::npos);
}

TEST(CpuCount, RespectsAffinity) {
  EXPECT_GE(physical_cpu_count(), 1);
  EXPECT_LE(physical_cpu_count(), static_cast<int>(std::thread::hardware_concurrency()));
  int count = 0;
  std::thread([&count] {  // affinity is of the thread
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) count = physical_cpu_count();
  })
      .join();
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace sluice
