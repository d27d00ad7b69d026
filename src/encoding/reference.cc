#include "encoding/reference.h"

#include <cstring>
#include <vector>

#include "base/check.h"
#include "encoding/block_affine.h"
#include "encoding/block_iq4_nl.h"
#include "encoding/block_iq4_xs.h"
#include "encoding/block_mxfp4.h"
#include "encoding/block_q2_k.h"
#include "encoding/block_q3_k.h"
#include "encoding/block_q4_0.h"
#include "encoding/block_q4_1.h"
#include "encoding/block_q4_k.h"
#include "encoding/block_q5_0.h"
#include "encoding/block_q5_1.h"
#include "encoding/block_q5_k.h"
#include "encoding/block_q6_k.h"
#include "encoding/block_q8_0.h"
#include "encoding/half.h"
#include "encoding/woven.h"

namespace sluice {
namespace {

// decode(block, out [Block::kValues]), one for each block struct.

void decode(const BlockQ4_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>((block.nibbles[j] & 15) - 8);
    out[j + 16] = scale * static_cast<float>((block.nibbles[j] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float min = f16_to_f32(block.min);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(block.nibbles[j] & 15) + min;
    out[j + 16] = scale * static_cast<float>(block.nibbles[j] >> 4) + min;
  }
}

void decode(const BlockQ5_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int j = 0; j < 16; ++j) {
    const int first = (block.nibbles[j] & 15) | (block.high >> j & 1) << 4;
    const int second = block.nibbles[j] >> 4 | (block.high >> (j + 16) & 1) << 4;
    out[j] = scale * static_cast<float>(first - 16);
    out[j + 16] = scale * static_cast<float>(second - 16);
  }
}

void decode(const BlockQ5_1& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float min = f16_to_f32(block.min);
  for (int j = 0; j < 16; ++j) {
    const int first = (block.nibbles[j] & 15) | (block.high >> j & 1) << 4;
    const int second = block.nibbles[j] >> 4 | (block.high >> (j + 16) & 1) << 4;
    out[j] = scale * static_cast<float>(first) + min;
    out[j + 16] = scale * static_cast<float>(second) + min;
  }
}

void decode(const BlockQ8_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(block.values[i]);
}

void decode(const BlockQ2_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float min = f16_to_f32(block.min);
  for (int i = 0; i < 256; ++i) {
    const uint8_t run = block.runs[i / 16];
    const int crumb = block.crumbs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    out[i] = (scale * static_cast<float>(run & 15)) * static_cast<float>(crumb) -
             min * static_cast<float>(run >> 4);
  }
}

void decode(const BlockQ3_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  int8_t run_scales[16];
  unpack_q3_k_scales(block.run_scales, run_scales);
  for (int i = 0; i < 256; ++i) {
    const int crumb = block.crumbs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    const int third = block.high[i % 32] >> (i / 32) & 1;
    const int run = i / 16;
    out[i] = (scale * static_cast<float>(run_scales[run])) * static_cast<float>((crumb | third << 2) - 4);
  }
}

void decode(const BlockQ4_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float min = f16_to_f32(block.min);
  uint8_t run_scales[8], run_mins[8];
  unpack_q4_k_runs(block.runs, run_scales, run_mins);
  for (int i = 0; i < 256; ++i) {
    const int r = i / 32;
    const int nibble = block.nibbles[i / 64 * 32 + i % 32] >> (r % 2 * 4) & 15;
    out[i] = (scale * static_cast<float>(run_scales[r])) * static_cast<float>(nibble) -
             min * static_cast<float>(run_mins[r]);
  }
}

void decode(const BlockQ5_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  const float min = f16_to_f32(block.min);
  uint8_t run_scales[8], run_mins[8];
  unpack_q4_k_runs(block.runs, run_scales, run_mins);
  for (int i = 0; i < 256; ++i) {
    const int r = i / 32;
    const int nibble = block.nibbles[i / 64 * 32 + i % 32] >> (r % 2 * 4) & 15;
    const int fifth = block.high[i % 32] >> r & 1;
    out[i] = (scale * static_cast<float>(run_scales[r])) * static_cast<float>(nibble | fifth << 4) -
             min * static_cast<float>(run_mins[r]);
  }
}

void decode(const BlockQ6_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int i = 0; i < 256; ++i) {
    const int nibble = block.nibbles[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
    const int crumb = block.crumbs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    const int run = i / 16;
    out[i] =
        (scale * static_cast<float>(block.run_scales[run])) * static_cast<float>((nibble | crumb << 4) - 32);
  }
}

void decode(const BlockIQ4_NL& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(kIQ4Levels[block.nibbles[j] & 15]);
    out[j + 16] = scale * static_cast<float>(kIQ4Levels[block.nibbles[j] >> 4]);
  }
}

void decode(const BlockIQ4_XS& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  int8_t run_scales[8];
  unpack_iq4_xs_scales(block.run_scales_high, block.run_scales_low, run_scales);
  for (int i = 0; i < 256; ++i) {
    const int nibble = block.nibbles[i / 32 * 16 + i % 16] >> (i / 16 % 2 * 4) & 15;
    const int run = i / 32;
    out[i] = (scale * static_cast<float>(run_scales[run])) * static_cast<float>(kIQ4Levels[nibble]);
  }
}

void decode(const BlockMXFP4& block, float* out) {
  const float scale = e8m0_half_to_f32(block.exponent);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(kMXFP4DoubledLevels[block.nibbles[j] & 15]);
    out[j + 16] = scale * static_cast<float>(kMXFP4DoubledLevels[block.nibbles[j] >> 4]);
  }
}

template <typename Block>
void decode_blocks(const std::byte* bytes, int64_t cols, float* out) {
  const auto* block = reinterpret_cast<const Block*>(bytes);
  for (int64_t i = 0; i < cols; i += Block::kValues) decode(*block++, out + i);
}

uint16_t load_u16(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return bits;
}

// Element `index` of an array of `type`.
float load_scale(const std::byte* array, ScaleType type, int64_t index) {
  if (type == ScaleType::kF16) return f16_to_f32(load_u16(array + 2 * index));
  if (type == ScaleType::kBF16) return bf16_to_f32(load_u16(array + 2 * index));
  float value;
  std::memcpy(&value, array + 4 * index, sizeof(value));
  return value;
}

void decode_affine(const WeightView& w, int64_t row, float* out) {
  const int bits = encoding_info(w.encoding).bits;
  const auto at_row = [&](size_t plane) {
    return w.plane[plane] + static_cast<uint64_t>(row) * w.stride[plane];
  };
  const auto* stream = reinterpret_cast<const uint8_t*>(at_row(0));
  for (int64_t i = 0; i < w.cols; i += 8) {
    const float scale = load_scale(at_row(1), w.params.scale_type, i / w.params.group);
    const float bias = load_scale(at_row(2), w.params.scale_type, i / w.params.group);
    uint8_t values[8];
    unpack_affine(stream + i / 8 * bits, bits, values);
    for (int k = 0; k < 8; ++k) {
      const float product = scale * static_cast<float>(values[k]);
      out[i + k] = product + bias;
    }
  }
}

// Row `row` of the planes of a woven weight, as it was before it was woven.
void decode_woven_row(const WeightView& w, int64_t row, float* out) {
  std::vector<std::byte> bytes[kMaxPlanes];
  const WovenForm form = woven_form(w.encoding);
  WeightView one{.encoding = w.encoding, .params = w.params, .rows = 1, .cols = w.cols};
  for (size_t p = 0; p < plane_count(w.encoding); ++p) {
    const std::byte* const group =
        w.plane[p] + static_cast<uint64_t>(row / kWovenRows * kWovenRows) * w.stride[p];
    bytes[p].resize(w.stride[p]);
    for_each_woven_run(form, w.stride[p], [&](uint64_t at, uint64_t place, uint64_t n, int width) {
      const std::byte* from = group + place + row % kWovenRows * width;
      for (uint64_t end = at + n; at < end; at += static_cast<uint64_t>(width), from += kWovenRows * width) {
        std::memcpy(&bytes[p][at], from, static_cast<size_t>(width));
      }
    });
    one.plane[p] = bytes[p].data();
    one.stride[p] = w.stride[p];
  }
  decode_row(one, 0, out);
}

}  // namespace

void decode_row(const WeightView& w, int64_t row, float* out) noexcept {
  SLUICE_DCHECK(row >= 0 && row < w.rows);
  row += w.first_row;
  if (row < w.woven_rows) return decode_woven_row(w, row, out);
  const std::byte* bytes = w.plane[0] + static_cast<uint64_t>(row) * w.stride[0];
  switch (w.encoding) {
    case Encoding::kF32:
      std::memcpy(out, bytes, static_cast<size_t>(w.cols) * sizeof(float));
      return;
    case Encoding::kF16:
      for (int64_t i = 0; i < w.cols; ++i) out[i] = f16_to_f32(load_u16(bytes + 2 * i));
      return;
    case Encoding::kBF16:
      for (int64_t i = 0; i < w.cols; ++i) out[i] = bf16_to_f32(load_u16(bytes + 2 * i));
      return;
    case Encoding::kQ4_0:
      return decode_blocks<BlockQ4_0>(bytes, w.cols, out);
    case Encoding::kQ4_1:
      return decode_blocks<BlockQ4_1>(bytes, w.cols, out);
    case Encoding::kQ5_0:
      return decode_blocks<BlockQ5_0>(bytes, w.cols, out);
    case Encoding::kQ5_1:
      return decode_blocks<BlockQ5_1>(bytes, w.cols, out);
    case Encoding::kQ8_0:
      return decode_blocks<BlockQ8_0>(bytes, w.cols, out);
    case Encoding::kQ2_K:
      return decode_blocks<BlockQ2_K>(bytes, w.cols, out);
    case Encoding::kQ3_K:
      return decode_blocks<BlockQ3_K>(bytes, w.cols, out);
    case Encoding::kQ4_K:
      return decode_blocks<BlockQ4_K>(bytes, w.cols, out);
    case Encoding::kQ5_K:
      return decode_blocks<BlockQ5_K>(bytes, w.cols, out);
    case Encoding::kQ6_K:
      return decode_blocks<BlockQ6_K>(bytes, w.cols, out);
    case Encoding::kIQ4_NL:
      return decode_blocks<BlockIQ4_NL>(bytes, w.cols, out);
    case Encoding::kIQ4_XS:
      return decode_blocks<BlockIQ4_XS>(bytes, w.cols, out);
    case Encoding::kMXFP4:
      return decode_blocks<BlockMXFP4>(bytes, w.cols, out);
    case Encoding::kAffine2:
    case Encoding::kAffine3:
    case Encoding::kAffine4:
    case Encoding::kAffine5:
    case Encoding::kAffine6:
    case Encoding::kAffine8:
      return decode_affine(w, row, out);
    case Encoding::kCount:
      break;
  }
  SLUICE_CHECK(false, "no encoding %d", static_cast<int>(w.encoding));
}

void weave_rows(std::byte* rows, int64_t n_rows, uint64_t row_bytes, Encoding encoding) {
  const WovenForm form = woven_form(encoding);
  const uint64_t n_group_bytes = static_cast<uint64_t>(kWovenRows) * row_bytes;
  for (int64_t n = weavable_rows(n_rows, row_bytes); n > 0; n -= kWovenRows, rows += n_group_bytes) {
    const std::vector<std::byte> group(rows, rows + n_group_bytes);
    for_each_woven_run(form, row_bytes, [&](uint64_t at, uint64_t place, uint64_t n_bytes, int width) {
      std::byte* to = rows + place;
      for (uint64_t end = at + n_bytes; at < end; at += static_cast<uint64_t>(width)) {
        for (uint64_t r = 0; r < kWovenRows; ++r, to += width) {
          std::memcpy(to, &group[r * row_bytes + at], static_cast<size_t>(width));
        }
      }
    });
  }
}

void decode_matrix(const WeightView& w, float* out) noexcept {
  for (int64_t row = 0; row < w.rows; ++row) decode_row(w, row, out + row * w.cols);
}

}  // namespace sluice
