// One test, run for every instruction set; those that the CPU lacks are skipped visibly, and are failures
// where the CPU is an emulated one, which has them all.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace sluice::test {

class Isa : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const std::string& isa : available_isas()) {
      if (isa == GetParam()) compute_.table = &kernel_table(isa);
    }
    if (compute_.table == nullptr) {
#if SLUICE_EMULATED_CPU
      FAIL() << "the emulated CPU has no " << GetParam();
#else
      GTEST_SKIP() << "this CPU has no " << GetParam();
#endif
    }
    compute_.pool = &pool_;
  }
  ThreadPool pool_{2};
  Compute compute_;
  std::mt19937 random_{7};
};

inline std::vector<float> random_floats(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

inline std::vector<std::string> all_isas() {
#if defined(__x86_64__)
  return {"generic", "avx2", "avx2-vnni", "avx512", "avx512-vbmi", "avx512-bf16", "avx512-amx"};
#elif defined(__aarch64__)
  return {"generic", "neon", "neon-dotprod", "neon-i8mm"};
#else
  return {"generic"};
#endif
}

// Those with a table of their own: the others have one of these but for products.
inline std::vector<std::string> base_isas() {
#if defined(__x86_64__)
  return {"generic", "avx2", "avx512"};
#elif defined(__aarch64__)
  return {"generic", "neon"};
#else
  return {"generic"};
#endif
}

inline std::string isa_test_name(const testing::TestParamInfo<std::string>& isa) {
  std::string name = isa.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

}  // namespace sluice::test
