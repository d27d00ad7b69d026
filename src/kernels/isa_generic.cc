// The baseline table: any machine, no intrinsics.
#include "kernels/isa.h"

#define SLUICE_ISA_NAME "generic"

namespace sluice::generic {
namespace {

// clang-format off
#include "kernels/vec_generic.inl.h"
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

}  // namespace sluice::generic
