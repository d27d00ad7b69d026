#include "forge/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "encoding/encode.h"
#include "encoding/half.h"
#include "encoding/reference.h"

namespace sluice {
namespace {

constexpr int64_t kPoolRows = 64;
constexpr int64_t kPoolCols = 16384;  // a multiple of every block and group

// Where the scales of a block lie that no encoder here writes. Filled with random bytes, such a block decodes
// to scale * (something of fixed mean and deviation), once its minimum's scale is `min_ratio` times the
// scale.
struct BlockScales {
  Encoding encoding;
  size_t scale_at;   // f16
  int min_at;        // f16, -1: none
  double min_ratio;  // makes the mean zero
};
constexpr BlockScales kBlockScales[] = {
    {Encoding::kQ4_1, 0, 2, -7.5},  {Encoding::kQ5_0, 0, -1, 0},   {Encoding::kQ5_1, 0, 2, -15.5},
    {Encoding::kQ2_K, 80, 82, 1.5}, {Encoding::kQ3_K, 108, -1, 0}, {Encoding::kQ4_K, 0, 2, 7.5},
    {Encoding::kQ5_K, 0, 2, 15.5},  {Encoding::kQ6_K, 208, -1, 0}, {Encoding::kIQ4_NL, 0, -1, 0},
    {Encoding::kIQ4_XS, 0, -1, 0},
};

void put_f16(std::byte* at, double value) {
  const uint16_t bits = f32_to_f16(static_cast<float>(value));
  std::memcpy(at, &bits, sizeof(bits));
}

double deviation_of(const WeightView& view) {
  std::vector<float> row(static_cast<size_t>(view.cols));
  double sum = 0;
  for (int64_t r = 0; r < view.rows; ++r) {
    decode_row(view, r, row.data());
    for (const float v : row) sum += static_cast<double>(v) * v;
  }
  return std::sqrt(sum / static_cast<double>(view.rows * view.cols));
}

// Random bytes with the scales of every block set so that values deviate by `deviation`.
void fill_blocks(Encoding encoding, double deviation, WeightRandom& random, std::vector<std::byte>& pool) {
  const EncodingInfo& info = encoding_info(encoding);
  for (size_t i = 0; i + 8 <= pool.size(); i += 8) {
    const uint64_t bits = random();
    std::memcpy(pool.data() + i, &bits, 8);
  }
  WeightView view{.encoding = encoding, .rows = kPoolRows, .cols = kPoolCols};
  view.plane[0] = pool.data();
  view.stride[0] = pool.size() / kPoolRows;
  const auto scale_all = [&](double scale) {
    for (size_t block = 0; block + info.bytes <= pool.size(); block += info.bytes) {
      std::byte* const at = pool.data() + block;
      if (encoding == Encoding::kMXFP4) {  // the scale is a power of two: byte 0 is its exponent + 127
        at[0] = static_cast<std::byte>(std::clamp(127 + std::lround(std::log2(scale)), 1L, 254L));
        continue;
      }
      const BlockScales* scales =
          std::find_if(std::begin(kBlockScales), std::end(kBlockScales),
                       [encoding](const BlockScales& s) { return s.encoding == encoding; });
      SLUICE_CHECK(scales != std::end(kBlockScales));
      put_f16(at + scales->scale_at, scale);
      if (scales->min_at >= 0) put_f16(at + scales->min_at, scale * scales->min_ratio);
    }
  };
  scale_all(1.0 / 64);
  scale_all(deviation / 64 / deviation_of(view));
}

}  // namespace

RandomWeights::RandomWeights(Encoding encoding, EncodingParams params, double deviation,
                             WeightRandom& random) {
  const auto bytes = row_bytes(encoding, params, kPoolCols);
  const size_t planes = plane_count(encoding);
  for (size_t p = 0; p < planes; ++p) pool_[p].resize(bytes[p] * kPoolRows);
  const EncodingInfo& info = encoding_info(encoding);
  unit_ = {info.bytes, scale_bytes(params.scale_type), scale_bytes(params.scale_type)};

  if (!can_encode(encoding)) {
    fill_blocks(encoding, deviation, random, pool_[0]);
    return;
  }
  std::normal_distribution<float> normal(0.0F, static_cast<float>(deviation));
  std::vector<float> row(kPoolCols);
  for (size_t r = 0; r < kPoolRows; ++r) {
    for (float& v : row) v = normal(random);
    std::array<std::span<std::byte>, kMaxPlanes> out;
    for (size_t p = 0; p < planes; ++p) out[p] = std::span(pool_[p]).subspan(r * bytes[p], bytes[p]);
    encode_row(encoding, params, row.data(), kPoolCols, out[0], out[1], out[2]);
  }
}

void RandomWeights::write(size_t plane, uint64_t bytes, WeightRandom& random, const Sink& sink) const {
  const std::vector<std::byte>& pool = pool_[plane];
  const size_t unit = unit_[plane];
  while (bytes > 0) {
    const size_t begin = random() % (pool.size() / unit) * unit;
    const auto n = static_cast<size_t>(std::min<uint64_t>(bytes, pool.size() - begin));
    sink(std::span(pool).subspan(begin, n));
    bytes -= n;
  }
}

}  // namespace sluice
