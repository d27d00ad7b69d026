// AVX2 with FMA and F16C.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#define SLUICE_ISA_NAME "avx2"

namespace sluice::avx2 {
namespace {

// clang-format off
#include "kernels/vec_avx2.inl.h"
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

}  // namespace sluice::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
