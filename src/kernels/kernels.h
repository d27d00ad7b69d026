// The arithmetic that the model is made of, chosen for this CPU at run time. This header is all that the
// floors above see; how it is done per instruction set is in table.h and below.
//
// The order rule: on one instruction set and encoding there is one order of accumulation per output element,
// whatever the number of rows, the tile, the batch or the threads. Results are equal bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "encoding/encoding.h"
#include "platform/thread_pool.h"

namespace sluice {

struct KernelTable;  // kernels/table.h: one per instruction set

// "avx512", "avx2", "neon", "generic"; empty picks the best for this CPU. Error(kUnsupported) if the CPU or
// the build lacks it.
const KernelTable& kernel_table(const std::string& isa = "");
std::vector<std::string> available_isas();  // best first
const char* kernel_isa(const KernelTable& table) noexcept;

// For measuring this CPU's peaks; thread-safe. `n` rounds of products on registers alone: returns the
// operations done (a multiply and an add are two).
int64_t int8_rounds(const KernelTable& table, int64_t n) noexcept;
int64_t f32_rounds(const KernelTable& table, int64_t n) noexcept;
int64_t bf16_rounds(const KernelTable& table, int64_t n) noexcept;  // 0: this CPU or table has none

// Reads `n_streams` (1, 2, 4 or 8) neighbouring stretches of `stream_bytes` (a multiple of 256) side by side,
// fetching `ahead` bytes ahead in each (0: not at all).
void read_streams(const KernelTable& table, const std::byte* data, size_t stream_bytes, int n_streams,
                  size_t ahead) noexcept;

// Everything a product needs besides its operands. One per engine; not thread-safe.
struct Compute {
  const KernelTable* table = nullptr;
  ThreadPool* pool = nullptr;
  bool f32_activations = false;  // --activations f32: multiply every encoding with float inputs
};

// What inputs are turned into before they are multiplied with weights of `encoding`: what EncodingInfo says,
// or float where the instruction set lacks that.
Activation activation_of(const Compute& compute, Encoding encoding) noexcept;

// Input rows in the formats that weights ask for. The float rows belong to the caller and must stay; an int8
// or bf16 copy is made on demand by prepare() and shared by every product of these rows.
class Activations {
 public:
  Activations();
  ~Activations();
  Activations(Activations&&) noexcept;
  Activations& operator=(Activations&&) noexcept;

  // Points at `x` [rows, cols], rows `stride` floats apart, and forgets the copy of before. Its buffer grows
  // on demand and is kept; reserve() allocates it at once.
  void set(const float* x, int64_t rows, int64_t cols, int64_t stride);
  void reserve(int64_t max_rows, int64_t max_cols);
  static size_t buffer_bytes(int64_t max_rows, int64_t max_cols);  // what reserve() allocates

  // Makes the format that `encoding` asks for, once, for products of all rows. Rows are quantised one by one
  // (never across rows); many lie in the order in which these products read them. Int8 with one scale for 32
  // values and with one for 256 may be there side by side.
  void prepare(const Compute& compute, Encoding encoding);
  // For products that choose rows, too.
  void prepare_rows(const Compute& compute, Encoding encoding);
  // The same for these rows alone, every time: products then may use no others.
  void prepare_rows(const Compute& compute, Encoding encoding, std::span<const int32_t> rows);

  int64_t rows() const noexcept;
  int64_t cols() const noexcept;

 private:
  friend struct ActivationAccess;  // kernels/activation.h
  template <typename Inputs>
  bool has_room_for();
  template <typename RowAt>
  void quantize_rows(const Compute& compute, int64_t span, int64_t n_rows, RowAt row_at);
  void quantize_packed(const Compute& compute, int64_t span);
  void round(const Compute& compute);

  struct Impl;
  Impl* impl_;
};

// One product: output[t, r] = sum over c of weight[r, c] * input[input_rows[t], c].
struct MatmulTask {
  WeightView weight;                    // [rows, cols]
  const Activations* input = nullptr;   // [n, cols], prepared for weight.encoding
  std::span<const int32_t> input_rows;  // which rows, in this order (prepare_rows() then); empty: all
  float* output = nullptr;              // [n_inputs, rows], rows of it output_stride floats apart
  int64_t output_stride = 0;
  bool f32_activations = false;  // of this product, also where Compute's is false
};

// Weaves rows of one plane of a weight in place (encoding/woven.h), those that can be: returns how many,
// which must be the same for all planes: WeightView::woven_rows. Products of woven rows have the same bits
// and are faster: with one input, memory is read in order and nothing is transposed. Woven integers are for
// int8 inputs alone. `scratch` grows on demand.
int64_t weave(const KernelTable& table, std::byte* rows, int64_t n_rows, uint64_t row_bytes,
              Encoding encoding, std::vector<std::byte>& scratch);

// All products in one parallel region, rows handed out in small blocks.
void matmul(const Compute& compute, std::span<const MatmulTask> tasks);

// The functions from here to store_values() run on the caller's thread alone, so that a task of a parallel
// region may call them.

// out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight, for `rows` rows of `cols`; in place if out == x.
void rms_norm(const Compute& compute, const float* x, int64_t x_stride, const float* weight, float eps,
              float* out, int64_t out_stride, int64_t rows, int64_t cols);

// gate[i] = silu(gate[i]) * up[i], n values in `rows` rows.
void swiglu(const Compute& compute, float* gate, const float* up, int64_t rows, int64_t cols);

// x[i] += y[i] * scale
void add_scaled(const Compute& compute, float* x, const float* y, float scale, int64_t n);

enum class RopeStyle : uint8_t {
  kHalves,  // pairs (i, i + dim/2): Hugging Face layout
  kPairs,   // pairs (2i, 2i + 1): GGUF llama layout, original Llama
};
// Rotates the first `rotary_dim` values of `n_heads` heads of `head_dim` side by side at x, by the angles
// whose cosines and sines [rotary_dim / 2] are given.
void rope(const Compute& compute, RopeStyle style, float* x, int64_t n_heads, int64_t head_dim,
          int64_t rotary_dim, const float* cosines, const float* sines);

enum class KvType : uint8_t { kF32, kF16, kBF16, kInt8 };
inline constexpr size_t kNumKvTypes = 4;

// Keys and values lie in blocks of this many positions; block b holds positions [64 b, 64 b + 64). Of each
// KV head a block has
//   keys    [head_dim, 64] of the type: one dimension of all positions, then the next
//   values  [64, head_dim] of the type
// each followed, for kInt8, by f32 scales [64] of the positions' rows: a number times its row's scale is what
// it stands for.
inline constexpr int64_t kKvBlockTokens = 64;
inline constexpr int64_t kMaxHeadDim = 1024;

constexpr size_t kv_type_bytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kInt8 ? 1 : 2;
}
// What the keys or the values of one KV head take in a block.
constexpr size_t kv_head_bytes(KvType type, int64_t head_dim) {
  const size_t scale = type == KvType::kInt8 ? sizeof(float) : 0;
  return static_cast<size_t>(kKvBlockTokens) * (static_cast<size_t>(head_dim) * kv_type_bytes(type) + scale);
}

// Rows [n, head_dim] of floats, `stride` floats apart, as the keys (values) of the positions from `slot` on
// in the block where a head's keys (values) begin at `dst`; to nearest even. Int8 has scale = greatest
// magnitude / 127 and NaN for a row that is not finite. slot + n <= kKvBlockTokens.
void store_keys(const Compute& compute, KvType type, const float* src, int64_t stride, int64_t n,
                int64_t head_dim, std::byte* dst, int64_t slot);
void store_values(const Compute& compute, KvType type, const float* src, int64_t stride, int64_t n,
                  int64_t head_dim, std::byte* dst, int64_t slot);

// Attention of one sequence, one layer and one KV head: queries at consecutive positions over all earlier
// keys.
struct AttentionTask {
  const float* q =
      nullptr;           // [n_queries, group, head_dim]: query t, head g at q + t * q_stride + g * head_dim
  int64_t q_stride = 0;  // floats
  int64_t n_queries = 0;
  int64_t first_position = 0;                // of query 0; keys [max(0, p - window + 1), p] are visible at p
  std::span<const std::byte* const> blocks;  // the sequence's blocks of this layer, by position / 64
  size_t k_offset = 0;                       // bytes from a block's start to this head's keys
  size_t v_offset = 0;                       // and to its values
  KvType kv_type = KvType::kF16;
  int64_t group = 1;  // query heads per KV head
  int64_t head_dim = 0;
  int64_t window = 0;            // 0: all
  float scale = 1;               // of q·k before the softmax; positive
  const float* sinks = nullptr;  // [group]: logit of one more key whose value is zero, per head; null: none
  float* out = nullptr;          // like q, out_stride apart
  int64_t out_stride = 0;
};

// Online softmax over the fixed key blocks of a segment in ascending order, then over the segments; all tasks
// in one parallel region. A few tasks with long contexts are cut along the context, in as many regions as
// `scratch` makes necessary, or not at all if it has no room; either way the bits are the same.
void attention(const Compute& compute, std::span<const AttentionTask> tasks, std::span<float> scratch);
// Scratch with which one sequence's decoding feeds many threads.
int64_t attention_scratch_floats(int64_t n_heads, int64_t head_dim);

}  // namespace sluice
