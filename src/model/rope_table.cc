#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sluice {
namespace {

// Llama 3.1: wavelengths beyond original_context / low_freq_factor are stretched by `factor`, those below
// original_context / high_freq_factor are kept, and between them the two are blended.
double llama3_frequency(const RopeSpec& spec, double frequency) {
  const double context = static_cast<double>(spec.original_context);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < context / spec.high_freq_factor) return frequency;
  if (wavelength > context / spec.low_freq_factor) return frequency / spec.factor;
  const double smooth =
      (context / wavelength - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor);
  return (1 - smooth) * frequency / spec.factor + smooth * frequency;
}

// YaRN's dimension at which a frequency turns `rotations` times within the original context.
double yarn_dimension(const RopeSpec& spec, double rotations) {
  const double context = static_cast<double>(spec.original_context);
  return static_cast<double>(spec.rotary_dim) * std::log(context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(spec.theta));
}

}  // namespace

RopeTable::RopeTable(const RopeSpec& spec) {
  const auto half = static_cast<size_t>(spec.rotary_dim / 2);
  double low = 0, high = 0;
  if (spec.scaling == RopeScaling::kYarn) {
    low = yarn_dimension(spec, spec.beta_fast);
    high = yarn_dimension(spec, spec.beta_slow);
    if (spec.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(spec.rotary_dim - 1));
    if (high <= low) high = low + 0.001;
    magnitude_ = spec.attention_factor > 0 ? spec.attention_factor : 0.1 * std::log(spec.factor) + 1.0;
  }
  frequencies_.resize(half);
  for (size_t i = 0; i < half; ++i) {
    double f = std::pow(spec.theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.rotary_dim));
    switch (spec.scaling) {
      case RopeScaling::kNone:
        break;
      case RopeScaling::kLinear:
        f /= spec.factor;
        break;
      case RopeScaling::kLlama3:
        f = llama3_frequency(spec, f);
        break;
      case RopeScaling::kFactors:
        f /= static_cast<double>(spec.factors[i]);
        break;
      case RopeScaling::kYarn: {
        const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
        f = f / spec.factor * ramp + f * (1 - ramp);
        break;
      }
    }
    frequencies_[i] = f;
  }
}

void RopeTable::at(int64_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(angle) * magnitude_);
    sines[i] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

}  // namespace sluice
