// AVX2 with the 256-bit integer products of AVX-VNNI: what they change in avx2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif

#define SLUICE_ISA_NAME "avx2-vnni"
#define SLUICE_AVX_VNNI 1

namespace sluice::avx2_vnni {
namespace {

// clang-format off
#include "kernels/vec_avx2.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/peaks.inl.h"
#include "kernels/changes.inl.h"
// clang-format on

constexpr TableChanges make_changes() {
  TableChanges changes =
      int8_changes([](auto decoder) { return matmul_int8<typename decltype(decoder)::Decode>; });
  changes.int8_rounds = int8_rounds;
  return changes;
}

}  // namespace

constinit const TableChanges kChanges = make_changes();

}  // namespace sluice::avx2_vnni

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
