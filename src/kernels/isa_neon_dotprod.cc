// NEON with the 4-way integer products of Armv8.2 (dotprod): what they change in neon.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#define SLUICE_ISA_NAME "neon-dotprod"
#define SLUICE_NEON_DOTPROD 1

namespace sluice::neon_dotprod {
namespace {

// clang-format off
#include "kernels/vec_neon.inl.h"
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

}  // namespace sluice::neon_dotprod

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // __aarch64__
