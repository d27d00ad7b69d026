// AVX-512 F, BW, VL, DQ, VNNI, VBMI, and the int8 tiles of AMX for many inputs (Sapphire Rapids and later):
// what the tiles change in avx512-vbmi.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                            \
    __attribute__((                                                                                      \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,amx-tile,amx-int8,fma,f16c"))), \
    apply_to = function)
#else
// GCC 12 takes the undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,amx-tile,amx-int8,fma,f16c")
#endif

#define SLUICE_ISA_NAME "avx512-amx"
#define SLUICE_AVX512_VBMI 1

namespace sluice::avx512_amx {
namespace {

// clang-format off
#include "kernels/vec_avx512.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/tuned/gemm_tiles.inl.h"
#include "kernels/changes.inl.h"
// clang-format on

constexpr TableChanges make_changes() {
  TableChanges changes = int8_changes([](auto decoder) { return matmul_tiled<decltype(decoder)>; });
  changes.int8_rounds = tile_rounds;
  return changes;
}

}  // namespace

constinit const TableChanges kChanges = make_changes();

}  // namespace sluice::avx512_amx

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
