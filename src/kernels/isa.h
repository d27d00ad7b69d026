// What every isa_<name>.cc includes before its target pragma: from there on, code may use instructions that
// the machine lacks, and must not leave the file. Hence no standard containers or algorithms in .inl.h files
// (an instantiation here could be the copy that the linker keeps for all), everything in an unnamed
// namespace, and tools/check_isa_objects to prove that these objects define no weak symbol.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encoding/block_iq4_nl.h"
#include "encoding/block_mxfp4.h"
#include "encoding/half.h"
#include "kernels/table.h"

// Small functions on vectors: a call would pass them through memory.
#define SLUICE_INLINE inline __attribute__((always_inline))

// Makes the compiler read the row pointers behind `p` again: it would otherwise keep sixteen of them in
// vector registers and move each back for every load.
#define SLUICE_RELOAD(p) asm volatile("" : "+r"(p))

// Before a loop of constant length whose index selects registers.
#if defined(__clang__)
#define SLUICE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SLUICE_UNROLL _Pragma("GCC unroll 16")
#endif
