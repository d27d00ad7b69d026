// AVX2 with the 256-bit integer products of AVX-VNNI.
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
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/norm.inl.h"
#include "kernels/attention.inl.h"
#include "kernels/table.inl.h"
// clang-format on

}  // namespace

constinit const KernelTable kTable = make_table();

}  // namespace sluice::avx2_vnni

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
