// What this CPU can do, asked once.
#pragma once

#include <string>

namespace sluice {

struct CpuFeatures {
  bool avx2 = false;      // with FMA and F16C
  bool avx_vnni = false;  // 256-bit dpbusd without AVX-512
  bool avx512 = false;    // F, BW, VL, DQ
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool bf16_is_fast = false;  // that is twice as fast as f32: AMD's; Intel's is half as fast
  bool avx512_vbmi = false;
  bool amx_int8 = false;  // tiles, and the kernel lets this process use them
  bool neon = false;
  bool neon_dotprod = false;
  bool neon_i8mm = false;
};

const CpuFeatures& cpu_features();
std::string cpu_name();    // "AMD EPYC 9B14", from /proc/cpuinfo
int physical_cpu_count();  // CPUs that this process may run on (affinity and cgroup quota respected)

}  // namespace sluice
