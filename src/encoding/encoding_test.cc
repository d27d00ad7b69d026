#include "encoding/encoding.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

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
#include "encoding/woven.h"

namespace sluice {
namespace {

template <typename Block>
void expect_info(Encoding encoding) {
  EXPECT_EQ(encoding_info(encoding).block, Block::kValues) << encoding_info(encoding).name;
  EXPECT_EQ(encoding_info(encoding).bytes, sizeof(Block)) << encoding_info(encoding).name;
  EXPECT_EQ(encoding_info(encoding).family, Family::kBlock) << encoding_info(encoding).name;
}

TEST(Encoding, InfoSaysWhatTheStructsAre) {
  expect_info<BlockQ4_0>(Encoding::kQ4_0);
  expect_info<BlockQ4_1>(Encoding::kQ4_1);
  expect_info<BlockQ5_0>(Encoding::kQ5_0);
  expect_info<BlockQ5_1>(Encoding::kQ5_1);
  expect_info<BlockQ8_0>(Encoding::kQ8_0);
  expect_info<BlockQ2_K>(Encoding::kQ2_K);
  expect_info<BlockQ3_K>(Encoding::kQ3_K);
  expect_info<BlockQ4_K>(Encoding::kQ4_K);
  expect_info<BlockQ5_K>(Encoding::kQ5_K);
  expect_info<BlockQ6_K>(Encoding::kQ6_K);
  expect_info<BlockIQ4_NL>(Encoding::kIQ4_NL);
  expect_info<BlockIQ4_XS>(Encoding::kIQ4_XS);
  expect_info<BlockMXFP4>(Encoding::kMXFP4);
}

// Every byte of a group has one place, and what decoders read at once is in one stretch.
TEST(Encoding, WeavingMovesEachByteToAPlaceOfItsOwn) {
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    const EncodingInfo& info = encoding_info(encoding);
    const WovenForm form = woven_form(encoding);
    SCOPED_TRACE(info.name);
    if (info.family == Family::kBlock) {
      EXPECT_EQ(form.block, info.bytes);
    }
    EXPECT_EQ(form.block * form.n_unit_blocks() * kWovenRows, form.n_unit_lines() * kWovenLine);
    const auto row_bytes = static_cast<uint64_t>(3 * form.block * form.n_unit_blocks());
    std::vector<int> n_read(row_bytes), n_written(row_bytes * kWovenRows);
    uint64_t next = 0;
    for_each_woven_run(form, row_bytes, [&](uint64_t at, uint64_t place, uint64_t n, int width) {
      EXPECT_EQ(place, next);
      next = place + n * kWovenRows;
      for (uint64_t i = 0; i < n; ++i) ++n_read.at(at + i);
      for (uint64_t i = place; i < next; ++i) ++n_written.at(i);
      EXPECT_TRUE(width == kWovenWord || width == form.loose);
      EXPECT_EQ(n % static_cast<uint64_t>(width), 0U);
    });
    EXPECT_EQ(n_read, std::vector<int>(n_read.size(), 1));
    EXPECT_EQ(n_written, std::vector<int>(n_written.size(), 1));
  }
}

TEST(Encoding, NamesAreUniqueAndFoundInAnyCase) {
  std::set<std::string> names;
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    std::string name(encoding_info(encoding).name);
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(encoding_from_name(name), encoding);
    for (char& c : name)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    EXPECT_EQ(encoding_from_name(name), encoding);
  }
  EXPECT_EQ(names.size(), 22u);
  for (const char* name : {"", "q4", "q4_00", "affine7", "count"})
    EXPECT_EQ(encoding_from_name(name), Encoding::kCount) << name;
}

TEST(Encoding, RowsAndTheirSizes) {
  const EncodingParams none;
  using Sizes = std::array<uint64_t, kMaxPlanes>;
  EXPECT_EQ(row_bytes(Encoding::kF32, none, 5), (Sizes{20, 0, 0}));
  EXPECT_EQ(row_bytes(Encoding::kQ4_0, none, 4096), (Sizes{2304, 0, 0}));
  EXPECT_EQ(row_bytes(Encoding::kQ6_K, none, 512), (Sizes{420, 0, 0}));
  EXPECT_EQ(row_bytes(Encoding::kAffine3, {64, ScaleType::kBF16}, 256), (Sizes{96, 8, 8}));
  EXPECT_EQ(row_bytes(Encoding::kAffine5, {128, ScaleType::kF32}, 256), (Sizes{160, 8, 8}));
  EXPECT_EQ(plane_count(Encoding::kQ4_K), 1u);
  EXPECT_EQ(plane_count(Encoding::kAffine8), 3u);

  EXPECT_TRUE(cols_fit(Encoding::kBF16, none, 3));
  EXPECT_TRUE(cols_fit(Encoding::kQ4_K, none, 512));
  EXPECT_FALSE(cols_fit(Encoding::kQ4_K, none, 288));
  EXPECT_TRUE(cols_fit(Encoding::kAffine4, {32, ScaleType::kF16}, 96));
  EXPECT_FALSE(cols_fit(Encoding::kAffine4, {64, ScaleType::kF16}, 96));
  for (const uint16_t group : {0, 16, 48, 256})
    EXPECT_FALSE(cols_fit(Encoding::kAffine4, {group, ScaleType::kF16}, 768)) << group;
}

TEST(Encoding, BitsPerWeight) {
  EXPECT_DOUBLE_EQ(bits_per_weight(Encoding::kQ4_0, {}), 4.5);
  EXPECT_DOUBLE_EQ(bits_per_weight(Encoding::kQ6_K, {}), 6.5625);
  EXPECT_DOUBLE_EQ(bits_per_weight(Encoding::kMXFP4, {}), 4.25);
  EXPECT_DOUBLE_EQ(bits_per_weight(Encoding::kAffine4, {64, ScaleType::kBF16}), 4.5);
  EXPECT_DOUBLE_EQ(bits_per_weight(Encoding::kAffine2, {32, ScaleType::kF32}), 4.0);
}

}  // namespace
}  // namespace sluice
