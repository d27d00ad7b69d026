// What every isa_<name>.cc includes before its target pragma: from there on, code may use instructions that
// the machine lacks, and must not leave the file. Hence no standard containers or algorithms in .inl.h files
// (an instantiation here could be the copy that the linker keeps for all), everything in an unnamed
// namespace, and tools/check_isa_objects to prove that these objects define no weak symbol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "encoding/block_iq4_nl.h"
#include "encoding/block_mxfp4.h"
#include "encoding/half.h"
#include "kernels/table.h"

// SLUICE_INLINE, SLUICE_LAMBDA_INLINE: small functions on vectors; a call would pass them through memory.
// SLUICE_UNROLL: before a loop of constant length whose index selects registers.
// Under sanitizers the size of the code matters more: each copy brings its checks.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLUICE_INLINE inline
#define SLUICE_LAMBDA_INLINE
#define SLUICE_UNROLL
#elif defined(__clang__)
#define SLUICE_INLINE inline __attribute__((always_inline))
#define SLUICE_LAMBDA_INLINE __attribute__((always_inline))
#define SLUICE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SLUICE_INLINE inline __attribute__((always_inline))
#define SLUICE_LAMBDA_INLINE __attribute__((always_inline))
#define SLUICE_UNROLL _Pragma("GCC unroll 16")
#endif
