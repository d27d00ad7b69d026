#include "model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace sluice {
namespace {

// The angle per position of pair `i`, read back from a small position.
double frequency(const RopeSpec& spec, size_t i) {
  std::vector<float> cosines(static_cast<size_t>(spec.rotary_dim / 2)), sines(cosines.size());
  RopeTable(spec).at(1, cosines.data(), sines.data());
  return std::atan2(static_cast<double>(sines[i]), static_cast<double>(cosines[i]));
}

double plain(const RopeSpec& spec, size_t i) {
  return std::pow(spec.theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.rotary_dim));
}

TEST(RopeTable, PlainAndLinear) {
  RopeSpec spec{.theta = 500000.0, .rotary_dim = 64};
  for (const size_t i : {0u, 5u, 31u}) EXPECT_NEAR(frequency(spec, i) / plain(spec, i), 1.0, 1e-5);
  spec.scaling = RopeScaling::kLinear;
  spec.factor = 4;
  for (const size_t i : {0u, 5u, 31u}) EXPECT_NEAR(frequency(spec, i) / plain(spec, i), 0.25, 1e-5);
}

// Llama 3.1: factor 8, original context 8192, low 1, high 4: short waves as they are, long ones an eighth.
TEST(RopeTable, Llama3KeepsShortWavesAndStretchesLongOnes) {
  const RopeSpec spec{.theta = 500000.0,
                      .rotary_dim = 128,
                      .scaling = RopeScaling::kLlama3,
                      .factor = 8,
                      .original_context = 8192,
                      .low_freq_factor = 1,
                      .high_freq_factor = 4};
  int kept = 0, stretched = 0, blended = 0;
  for (size_t i = 0; i < 64; ++i) {
    const double wavelength = 2 * std::numbers::pi / plain(spec, i);
    const double ratio = frequency(spec, i) / plain(spec, i);
    if (wavelength < 2048) {
      EXPECT_NEAR(ratio, 1.0, 1e-4);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_NEAR(ratio, 0.125, 1e-4);
      ++stretched;
    } else {
      const double smooth = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(ratio, (1 - smooth) / 8 + smooth, 1e-4);
      ++blended;
    }
  }
  EXPECT_GT(kept, 20);
  EXPECT_GT(stretched, 20);
  EXPECT_GT(blended, 3);
}

// YaRN: fast dimensions untouched, slow ones divided by the factor, magnitudes 0.1 ln(s) + 1.
TEST(RopeTable, Yarn) {
  const RopeSpec spec{.theta = 10000.0,
                      .rotary_dim = 128,
                      .scaling = RopeScaling::kYarn,
                      .factor = 4,
                      .original_context = 4096};
  EXPECT_NEAR(frequency(spec, 0), plain(spec, 0), 1e-5);
  EXPECT_NEAR(frequency(spec, 63) / plain(spec, 63), 0.25, 1e-4);
  std::vector<float> cosines(64), sines(64);
  RopeTable(spec).at(0, cosines.data(), sines.data());
  EXPECT_NEAR(cosines[7], 0.1 * std::log(4.0) + 1, 1e-6);
  EXPECT_EQ(sines[7], 0.0F);
}

TEST(RopeTable, FactorsDivideFrequencies) {
  RopeSpec spec{.theta = 10000.0, .rotary_dim = 8, .scaling = RopeScaling::kFactors, .factors = {1, 2, 4, 8}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(frequency(spec, i) * static_cast<double>(spec.factors[i]), plain(spec, i), 1e-6);
  }
}

}  // namespace
}  // namespace sluice
