// AVX-512 F, BW, VL, DQ, VNNI, VBMI and BF16 (Zen 4 and later): what products of bf16 change in avx512-vbmi.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                                \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bf16,fma,f16c"))), \
    apply_to = function)
#else
// GCC 12 takes the undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bf16,fma,f16c")
#endif

#define SLUICE_ISA_NAME "avx512-bf16"
#define SLUICE_AVX512_VBMI 1

namespace sluice::avx512_bf16 {
namespace {

// clang-format off
#include "kernels/vec_avx512.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/tuned/gemm_bf16.inl.h"
#include "kernels/changes.inl.h"
// clang-format on

constexpr TableChanges make_changes() {
  TableChanges changes = no_changes();
  changes.matmul[static_cast<size_t>(Encoding::kBF16)][static_cast<size_t>(Activation::kBF16)] = matmul_bf16;
  changes.round = round_rows;
  return changes;
}

}  // namespace

constinit const TableChanges kChanges = make_changes();

// In independent sums, which hide the latency of the products.
int64_t bf16_rounds(int64_t n, float* sums) noexcept {
  constexpr int kSums = 12;
  F sum[kSums];
  SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = f_set(static_cast<float>(i));
  const I weight = i_set(0x3f003f00), input = i_set(0x3e803e80);  // 0.5 and 0.25
  for (int64_t round = 0; round < n; ++round) {
    SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = dot_bf16(sum[i], weight, input);
  }
  SLUICE_UNROLL for (int i = 1; i < kSums; ++i) sum[0] = f_add(sum[0], sum[i]);
  f_store(sums, sum[0]);
  return n * kSums * kLanes * 2 * 2;
}

}  // namespace sluice::avx512_bf16

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
