// How weights lie in memory for the kernels. An Encoding names the arithmetic of one weight; EncodingInfo is
// what every other part needs to know of it (sizes, planes, the activation format it is multiplied with).
// The structs and their layout in prose are in block_<name>.h, the scalar truth in reference.h.
//
// A weight is a matrix [rows, cols] (output x input), row-major, one row after another in each plane. GGUF
// blocks are one plane; MLX affine weights are three: packed values, scales, biases.
//
// What stays in memory may be woven: see woven.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

enum class Encoding : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
  kAffine2,
  kAffine3,
  kAffine4,
  kAffine5,
  kAffine6,
  kAffine8,
  kCount,
};
inline constexpr size_t kNumEncodings = static_cast<size_t>(Encoding::kCount);

// What an input row is turned into before it is multiplied.
enum class Activation : uint8_t {
  kF32,   // float, as it comes
  kInt8,  // int8 in blocks of 32 with one float scale each (kernels/activation.h)
  kBF16,  // rounded to bf16 where the CPU multiplies that faster, else kF32
};
inline constexpr size_t kNumActivations = 3;

enum class Family : uint8_t {
  kFloat,   // F32 F16 BF16: one plane
  kBlock,   // GGUF blocks: one plane of structs
  kAffine,  // MLX: planes weight (LSB-first bit stream), scales, biases
};

struct EncodingInfo {
  Encoding encoding;
  std::string_view name;  // lower case, as in --to and in reports: "q4_k", "affine4"
  Family family;
  uint16_t block;         // values per block (kAffine: values that fill whole bytes; 8 always does)
  uint16_t bytes;         // bytes per block in plane 0
  uint8_t bits;           // nominal bits per value, scales not counted
  Activation activation;  // documented default format of the input
};

// Scales and biases of affine weights come in the checkpoint's own float type.
enum class ScaleType : uint8_t { kF32, kF16, kBF16 };

inline constexpr size_t kMaxPlanes = 3;

// The part of an encoding that varies between checkpoints. Only kAffine uses it.
struct EncodingParams {
  uint16_t group = 0;  // values that share one scale and bias: 32, 64 or 128
  ScaleType scale_type = ScaleType::kBF16;
  bool operator==(const EncodingParams&) const = default;
};

// Never fails: every enumerator but kCount has an entry.
const EncodingInfo& encoding_info(Encoding encoding) noexcept;

// By `EncodingInfo::name`, case-insensitive. kCount if there is none.
Encoding encoding_from_name(std::string_view name) noexcept;

constexpr size_t scale_bytes(ScaleType type) { return type == ScaleType::kF32 ? 4 : 2; }

// Number of planes: 1, or 3 for kAffine.
size_t plane_count(Encoding encoding) noexcept;

// True if a row of `cols` values can be stored: a whole number of blocks, or of groups for kAffine.
bool cols_fit(Encoding encoding, EncodingParams params, uint64_t cols) noexcept;

// Bytes of one row in each plane (0 for planes that are not there). Precondition: cols_fit() and
// cols < 2^40.
std::array<uint64_t, kMaxPlanes> row_bytes(Encoding encoding, EncodingParams params, uint64_t cols) noexcept;

// Bits per weight with scales, e.g. 4.5 for q4_0.
double bits_per_weight(Encoding encoding, EncodingParams params) noexcept;

// A weight whose bytes are readable now. Does not own them: valid while the lease (store/weight_store.h)
// that delivered it lives. Planes have no alignment; row r of plane p is at plane[p] + r * stride[p], unless
// it is woven.
struct WeightView {
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  int64_t rows = 0;  // outputs
  int64_t cols = 0;  // inputs
  std::array<const std::byte*, kMaxPlanes> plane = {};
  std::array<uint64_t, kMaxPlanes> stride = {};  // bytes from row to row
  int64_t woven_rows = 0;  // rows of the planes, from their start, that are woven; no gaps are between them
  int64_t first_row = 0;   // row of the planes that is row 0 of the weight; not 0 only where they are woven
};

}  // namespace sluice
