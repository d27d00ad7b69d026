// NEON as every arm64 machine has it.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/isa.h"

#define SLUICE_ISA_NAME "neon"

namespace sluice::neon {
namespace {

// clang-format off
#include "kernels/vec_neon.inl.h"
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

}  // namespace sluice::neon
#endif  // __aarch64__
