// The peak of AVX512-BF16's products, for measuring. No kernel uses them.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), \
                             apply_to = function)
#else
// GCC 12 takes the undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#endif

namespace sluice::avx512_bf16 {

// In independent sums, which hide the latency of the products.
int64_t bf16_rounds(int64_t n, float* sums) noexcept {
  constexpr int kSums = 12;
  __m512 sum[kSums];
  SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  const auto weight = __builtin_bit_cast(__m512bh, _mm512_set1_epi16(0x3f00));  // 0.5
  const auto input = __builtin_bit_cast(__m512bh, _mm512_set1_epi16(0x3e80));   // 0.25
  for (int64_t round = 0; round < n; ++round) {
    SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], weight, input);
  }
  SLUICE_UNROLL for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  _mm512_storeu_ps(sums, sum[0]);
  return n * kSums * 16 * 2 * 2;
}

}  // namespace sluice::avx512_bf16

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
