// NEON with the 8-bit matrix products of Armv8.6 (i8mm): what they change in neon-dotprod.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif

#define SLUICE_ISA_NAME "neon-i8mm"
#define SLUICE_NEON_DOTPROD 1
#define SLUICE_NEON_I8MM 1

namespace sluice::neon_i8mm {
namespace {

// clang-format off
#include "kernels/vec_neon.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/tuned/gemm_pairs.inl.h"
#include "kernels/changes.inl.h"
// clang-format on

// In independent sums, which hide the latency of the products.
int64_t pair_rounds(int64_t n, int32_t* sums) noexcept {
  constexpr int kSums = 12;
  I sum[kSums];
  SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = i_set(static_cast<uint32_t>(i));
  I input = i_set(0x01020304);
  for (int64_t round = 0; round < n; ++round) {
    SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = dot_pairs(sum[i], i_set(0x05030201), input);
    input = i_xor(input, i_set(0x00010002));  // or the products would be the same in every round
  }
  SLUICE_UNROLL for (int i = 1; i < kSums; ++i) sum[0] = i_add(sum[0], sum[i]);
  i_store(sums, sum[0]);
  return n * kSums * 2 * 2 * 8 * 2;
}

constexpr TableChanges make_changes() {
  TableChanges changes = int8_changes([](auto decoder) { return matmul_pairs<decltype(decoder)>; });
  changes.pack = pack;  // in pairs
  changes.int8_rounds = pair_rounds;
  return changes;
}

}  // namespace

constinit const TableChanges kChanges = make_changes();

}  // namespace sluice::neon_i8mm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __aarch64__
