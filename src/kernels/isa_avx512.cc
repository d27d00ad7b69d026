// AVX-512 F, BW, VL, DQ and VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c"))), apply_to = function)
#else
// GCC 12 takes the undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")
#endif

#define SLUICE_ISA_NAME "avx512"
#define SLUICE_BF16_ROUNDS avx512_bf16::bf16_rounds

namespace sluice::avx512 {
namespace {

// clang-format off
#include "kernels/vec_avx512.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/norm.inl.h"
#include "kernels/attention.inl.h"
#include "kernels/table.inl.h"
// clang-format on

}  // namespace

constinit const KernelTable kTable = make_table();

}  // namespace sluice::avx512

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
