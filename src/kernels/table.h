// What one instruction set offers: plain functions behind pointers. Each isa_<name>.cc compiles the shared
// .inl.h files for itself and exports one constant table, or what it changes in another's.
// Functions work on one thread and on rows that dispatch.cc, matmul.cc, ops.cc and attention.cc cut to size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encoding/encoding.h"
#include "encoding/woven.h"
#include "kernels/activation.h"
#include "kernels/kernels.h"

namespace sluice {

// Rows [row_begin, row_end) of a weight times n_inputs input rows. Plain members: see isa.h.
struct MatmulArgs {
  const std::byte* plane[kMaxPlanes];
  uint64_t stride[kMaxPlanes];  // bytes from row to row
  uint64_t row_bytes[kMaxPlanes];
  EncodingParams params;
  bool is_woven;  // rows [row_begin, row_end) are; row_begin is a multiple of kWovenRows then
  int64_t rows;
  int64_t cols;
  int64_t row_begin;
  int64_t row_end;
  int64_t next_row;        // where this thread will probably go on, to be fetched ahead; >= rows: nowhere
  const std::byte* input;  // f32 rows, or rows of ActivationBlock
  const void* packed;      // the same in packed form, tiles of kPackedRows x kPackedCols; null: they are not
  int64_t input_stride;    // bytes
  const int32_t* input_rows;  // [n_inputs], or null: 0, 1, 2...
  int64_t n_inputs;
  float* output;          // [n_inputs, rows]
  int64_t output_stride;  // floats
};
using MatmulFn = void (*)(const MatmulArgs&) noexcept;

// Query rows [row_begin, row_end) of an AttentionTask, kAttentionRows at most. Row i is position i / group,
// head i % group; the other members are the task's.
struct AttentionArgs {
  int64_t row_begin;
  int64_t row_end;
  int64_t fetch_end;  // keys before it will probably be wanted by this thread next, to be fetched ahead
  const float* q;
  int64_t q_stride;
  int64_t first_position;
  const std::byte* const* blocks;
  size_t k_offset;
  size_t v_offset;
  int64_t group;
  int64_t head_dim;
  int64_t window;
  float scale;
  const float* sinks;
  float* out;
  int64_t out_stride;
};
inline constexpr int64_t kAttentionRows = 96;
inline constexpr int64_t kAttentionSegment = 512;  // keys that are reduced from scratch, then merged

// What a segment leaves of n rows: maximum [n], total [n], and, from attention_out_offset(n) on, out [n,
// attention_out_stride(head_dim)], not yet divided by the total. Maxima count in powers of two.
inline constexpr int64_t kAttentionOutAlign = 16;
constexpr int64_t attention_out_stride(int64_t head_dim) {
  return (head_dim + kAttentionOutAlign - 1) / kAttentionOutAlign * kAttentionOutAlign;
}
constexpr int64_t attention_out_offset(int64_t n_rows) { return attention_out_stride(2 * n_rows); }
constexpr int64_t attention_partial_floats(int64_t n_rows, int64_t head_dim) {
  return attention_out_offset(n_rows) + n_rows * attention_out_stride(head_dim);
}
using AttentionSegmentFn = void (*)(const AttentionArgs&, int64_t segment, float* partial) noexcept;

// Weaves `n_rows` (a multiple of kWovenRows) of `row_bytes` in place. `scratch` holds weave_scratch_bytes().
using WeaveFn = void (*)(std::byte* rows, int64_t n_rows, uint64_t row_bytes, const WovenForm& form,
                         std::byte* scratch) noexcept;
// Rows in the scratch are further apart than in memory, where many would compete for one place in the cache.
constexpr uint64_t weave_scratch_stride(uint64_t row_bytes) { return (row_bytes + 63) / 64 * 64 + 64; }
constexpr uint64_t weave_scratch_bytes(uint64_t row_bytes) {
  return weave_scratch_stride(row_bytes) * static_cast<uint64_t>(kWovenRows);
}

// n <= kPackedRows rows of n_blocks for products with many inputs.
using PackFn = void (*)(const ActivationBlock* const* rows, int64_t n, int64_t n_blocks,
                        PackedInputs* out) noexcept;

// n <= kPackedRows rows of n_cols <= kPackedCols.
using RoundFn = void (*)(const float* const* rows, int64_t n, int64_t n_cols, RoundedInputs* out) noexcept;

// The most inputs that are multiplied as they come, without being packed.
inline constexpr int64_t kFewInputs = 16;

// Weight rows that share many inputs in the second-level cache.
inline constexpr int64_t kBlockRows = 256;

// Where one input is so long that weights push most of it out of the first-level cache before its next use,
// this many woven rows share each part of it, groups of them in turns.
inline constexpr int64_t kTurnRows = 4 * kWovenRows;
constexpr bool takes_turns(int64_t cols) { return cols > 4096; }

inline constexpr size_t kReadStep = 256;  // bytes of one stream that read_streams() reads at once

struct KernelTable {
  const char* isa;
  int64_t panel_rows;                               // weight rows that matmul works on at once
  MatmulFn matmul[kNumEncodings][kNumActivations];  // [encoding][Activation]; null, never for kF32: none
  WeaveFn weave;
  AttentionSegmentFn attention_segment[kNumKvTypes];
  // The partial of the next segment into state (maximum [n], total [n]) and a.out, and in the end the
  // division. A state begins as -infinity and 0, a.out as 0.
  void (*attention_merge)(const AttentionArgs& a, const float* partial, float* state) noexcept;
  void (*attention_finish)(const AttentionArgs& a, float* state) noexcept;
  // `span` is 32 or 256, and cols a multiple of it.
  void (*quantize_row)(const float* x, int64_t cols, int64_t span, ActivationBlock* out) noexcept;
  PackFn pack;
  RoundFn round;  // null: no products of bf16
  void (*rms_norm_row)(const float* x, const float* weight, float eps, float* out, int64_t cols) noexcept;
  void (*swiglu)(float* gate, const float* up, int64_t n) noexcept;
  void (*add_scaled)(float* x, const float* y, float scale, int64_t n) noexcept;
  void (*rope)(RopeStyle style, float* x, int64_t n_heads, int64_t head_dim, int64_t rotary_dim,
               const float* cosines, const float* sines) noexcept;
  // A row to a float type, or to int8; the latter returns the scale.
  void (*convert_kv)(KvType type, const float* src, void* dst, int64_t n) noexcept;
  float (*quantize_kv)(const float* src, int8_t* dst, int64_t n) noexcept;
  void (*exp)(const float* x, float* out, int64_t n) noexcept;  // what softmax and SiLU use
  // For measuring peaks: see the functions of these names in kernels.h. `sums` is room for a vector.
  int64_t (*int8_rounds)(int64_t n, int32_t* sums) noexcept;
  int64_t (*f32_rounds)(int64_t n, float* sums) noexcept;
  int64_t (*bf16_rounds)(int64_t n, float* sums) noexcept;  // null: none; else if the CPU has AVX512-BF16
  void (*read_streams)(const std::byte* data, size_t stream_bytes, int n_streams, size_t ahead,
                       int32_t* sums) noexcept;
};

// What an instruction set does better than the table of a lesser one; null (0): nothing.
struct TableChanges {
  const char* isa;
  MatmulFn matmul[kNumEncodings][kNumActivations];
  PackFn pack;
  RoundFn round;
  int64_t (*int8_rounds)(int64_t n, int32_t* sums) noexcept;
};

namespace generic {
extern const KernelTable kTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx2_vnni {
extern const TableChanges kChanges;  // of avx2
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace avx512_vbmi {
extern const TableChanges kChanges;  // of avx512
}
namespace avx512_amx {
extern const TableChanges kChanges;  // of avx512 with avx512_vbmi's
}
namespace avx512_bf16 {
extern const TableChanges kChanges;  // of avx512 with avx512_vbmi's
int64_t bf16_rounds(int64_t n, float* sums) noexcept;
}  // namespace avx512_bf16
#elif defined(__aarch64__)
namespace neon {
extern const KernelTable kTable;
}
namespace neon_dotprod {
extern const TableChanges kChanges;  // of neon
}
namespace neon_i8mm {
extern const TableChanges kChanges;  // of neon with neon_dotprod's
}
#endif

}  // namespace sluice
