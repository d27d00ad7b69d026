// What one instruction set offers: plain functions behind pointers. Each isa_<name>.cc compiles the shared
// .inl.h files for itself and exports one constant table. Functions work on one thread and on rows that
// dispatch.cc, matmul.cc and ops.cc cut to size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encoding/encoding.h"
#include "kernels/activation.h"
#include "kernels/kernels.h"

namespace sluice {

// Rows [row_begin, row_end) of a weight times n_inputs input rows. Plain members: see isa.h.
struct MatmulArgs {
  const std::byte* plane[kMaxPlanes];
  uint64_t stride[kMaxPlanes];  // bytes from row to row
  uint64_t row_bytes[kMaxPlanes];
  EncodingParams params;
  int64_t rows;
  int64_t cols;
  int64_t row_begin;
  int64_t row_end;
  int64_t next_row;           // where this thread will probably go on, to be fetched ahead; >= rows: nowhere
  const std::byte* input;     // f32 rows, or rows of ActivationBlock
  int64_t input_stride;       // bytes
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
  float* out;
  int64_t out_stride;
};
using AttentionFn = void (*)(const AttentionArgs&) noexcept;
inline constexpr int64_t kAttentionRows = 32;

inline constexpr size_t kReadStep = 256;  // bytes of one stream that read_streams() reads at once

struct KernelTable {
  const char* isa;
  int64_t panel_rows;                 // weight rows that matmul works on at once
  MatmulFn matmul[kNumEncodings][2];  // [encoding][Activation]; float encodings have kF32 alone
  AttentionFn attention[3];           // [KvType]
  void (*quantize_row)(const float* x, int64_t cols, ActivationBlock* out) noexcept;
  void (*rms_norm_row)(const float* x, const float* weight, float eps, float* out, int64_t cols) noexcept;
  void (*swiglu)(float* gate, const float* up, int64_t n) noexcept;
  void (*add_scaled)(float* x, const float* y, float scale, int64_t n) noexcept;
  void (*rope)(RopeStyle style, float* x, int64_t n_heads, int64_t head_dim, int64_t rotary_dim,
               const float* cosines, const float* sines) noexcept;
  void (*store_kv)(KvType type, const float* src, void* dst, int64_t n) noexcept;
  void (*exp)(const float* x, float* out, int64_t n) noexcept;  // what softmax and SiLU use
  // For measuring peaks: see the functions of these names in kernels.h. `sums` is room for a vector.
  int64_t (*int8_rounds)(int64_t n, int32_t* sums) noexcept;
  int64_t (*f32_rounds)(int64_t n, float* sums) noexcept;
  int64_t (*bf16_rounds)(int64_t n, float* sums) noexcept;  // null: none; else if the CPU has AVX512-BF16
  void (*read_streams)(const std::byte* data, size_t stream_bytes, int n_streams, size_t ahead,
                       int32_t* sums) noexcept;
};

namespace generic {
extern const KernelTable kTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx2_vnni {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace avx512_vbmi {
extern const KernelTable kTable;
}
namespace avx512_bf16 {
int64_t bf16_rounds(int64_t n, float* sums) noexcept;
}
#elif defined(__aarch64__)
namespace neon {
extern const KernelTable kTable;
}
namespace neon_dotprod {
extern const KernelTable kTable;
}
#endif

}  // namespace sluice
