#include "platform/cpu_features.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>

#include "base/align.h"
#include "platform/cgroup.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace sluice {
namespace {

#if defined(__x86_64__)

struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // zeros for a leaf that is not there
  return r;
}

// Which register files the operating system saves (XCR0).
uint64_t enabled_state() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux saves the tile registers only for processes that ask (ARCH_REQ_XCOMP_PERM); threads share the answer.
bool may_use_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

bool is_amd() {
  const CpuidLeaf l0 = cpuid(0, 0);
  return l0.ebx == 0x68747541 && l0.edx == 0x69746e65 && l0.ecx == 0x444d4163;  // "AuthenticAMD"
}

constexpr bool bit(uint32_t value, int index) { return (value >> index) & 1; }

CpuFeatures detect() {
  CpuFeatures f;
  const CpuidLeaf l1 = cpuid(1, 0);
  if (!bit(l1.ecx, 27)) return f;  // OSXSAVE
  const uint64_t state = enabled_state();
  const bool ymm = (state & 0x06) == 0x06;
  const bool zmm = (state & 0xe6) == 0xe6;
  const CpuidLeaf l7 = cpuid(7, 0);
  const CpuidLeaf l7_1 = l7.eax >= 1 ? cpuid(7, 1) : CpuidLeaf{};
  const bool fma = bit(l1.ecx, 12), f16c = bit(l1.ecx, 29), avx = bit(l1.ecx, 28);
  f.avx2 = ymm && avx && fma && f16c && bit(l7.ebx, 5);
  f.avx_vnni = f.avx2 && bit(l7_1.eax, 4);
  const bool foundation = bit(l7.ebx, 16), dq = bit(l7.ebx, 17), bw = bit(l7.ebx, 30), vl = bit(l7.ebx, 31);
  f.avx512 = f.avx2 && zmm && foundation && dq && bw && vl;
  f.avx512_vnni = f.avx512 && bit(l7.ecx, 11);
  f.avx512_bf16 = f.avx512 && bit(l7_1.eax, 5);
  f.bf16_is_fast = f.avx512_bf16 && is_amd();
  f.avx512_vbmi = f.avx512 && bit(l7.ecx, 1);
  const bool tiles_saved = (state & 0x60000) == 0x60000;
  f.amx_int8 = tiles_saved && bit(l7.edx, 24) && bit(l7.edx, 25) && may_use_tiles();
  return f;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  CpuFeatures f;
  const unsigned long caps = getauxval(AT_HWCAP);
  const unsigned long caps2 = getauxval(AT_HWCAP2);
  f.neon = (caps & HWCAP_ASIMD) != 0;
  f.neon_dotprod = f.neon && (caps & HWCAP_ASIMDDP) != 0;
  f.neon_i8mm = f.neon && (caps2 & HWCAP2_I8MM) != 0;
  return f;
}

#else

CpuFeatures detect() { return {}; }

#endif

// CPUs by affinity. The mask grows until the kernel accepts it: machines may have more than 1024.
int affinity_count() {
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    const int count = ok ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (ok) return count;
  }
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

// Whole CPUs that the tightest cgroup quota buys, rounded up; a large number without one.
uint64_t quota_count() {
  uint64_t least = 1 << 20;
  const CgroupDirectories groups = cgroup_directories("cpu");
  const auto bound = [&least](uint64_t quota, uint64_t period) {
    if (quota > 0 && period > 0) least = std::min(least, div_up(quota, period));
  };
  for (const std::string& directory : groups.v1) {
    const auto quota = read_kernel_number(directory + "/cpu.cfs_quota_us");  // "-1" for none
    const auto period = read_kernel_number(directory + "/cpu.cfs_period_us");
    if (quota && period) bound(*quota, *period);
  }
  for (const std::string& directory : groups.v2) {
    std::istringstream text(read_kernel_file(directory + "/cpu.max"));  // "200000 100000" or "max 100000"
    uint64_t quota = 0, period = 0;
    if (text >> quota >> period) bound(quota, period);
  }
  return least;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos && line.compare(0, 10, "model name") == 0) return line.substr(colon + 2);
  }
  utsname machine;
  return uname(&machine) == 0 ? machine.machine : "unknown CPU";
}

int physical_cpu_count() {
  return std::max(1, static_cast<int>(std::min<uint64_t>(affinity_count(), quota_count())));
}

}  // namespace sluice
