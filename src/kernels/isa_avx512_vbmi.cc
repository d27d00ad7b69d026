// AVX-512 F, BW, VL, DQ, VNNI and VBMI (Ice Lake, Zen 4 and later): what VBMI changes in avx512, where values
// of fewer than eight bits are packed without regard to bytes, or looked up.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,fma,f16c"))), \
    apply_to = function)
#else
// GCC 12 takes the undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,fma,f16c")
#endif

#define SLUICE_ISA_NAME "avx512-vbmi"
#define SLUICE_AVX512_VBMI 1

namespace sluice::avx512_vbmi {
namespace {

// clang-format off
#include "kernels/vec_avx512.inl.h"
#include "kernels/layout.inl.h"
#include "kernels/decode.inl.h"
#include "kernels/dot.inl.h"
#include "kernels/gemm.inl.h"
#include "kernels/changes.inl.h"
// clang-format on

// One input by VBMI's table, which takes nibbles as they lie; more as avx512 has it.
template <class Decoder>
void matmul_by_table(const MatmulArgs& a) noexcept {
  if (a.n_inputs == 1) return matmul_one<typename Decoder::Decode>(a);
  avx512::kTable.matmul[static_cast<size_t>(Decoder::kEncoding)][static_cast<size_t>(Activation::kInt8)](a);
}

constexpr TableChanges make_changes() {
  TableChanges changes = no_changes();
  for_each_decoder([&](auto decoder) {
    using Decode = typename decltype(decoder)::Decode;
    MatmulFn* const matmul = changes.matmul[static_cast<size_t>(decoder.kEncoding)];
    if constexpr (Decode::kHasScalePlanes && !Decode::kIsWide) {
      matmul[static_cast<size_t>(Activation::kF32)] = matmul_f32<IntegerSource<Decode>>;
      matmul[static_cast<size_t>(Activation::kInt8)] = matmul_int8<Decode>;
    } else if constexpr (Decode::kLooksUp) {
      matmul[static_cast<size_t>(Activation::kInt8)] = matmul_by_table<decltype(decoder)>;
    }
  });
  return changes;
}

}  // namespace

constinit const TableChanges kChanges = make_changes();

}  // namespace sluice::avx512_vbmi

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __x86_64__
