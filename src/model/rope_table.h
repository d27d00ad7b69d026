// Angles of the rotary embedding, with the context extensions that checkpoints ask for.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model_spec.h"

namespace sluice {

// Immutable; thread-safe. Sources: RoFormer (2104.09864); linear interpolation (2306.15595); YaRN
// (2309.00071); Llama 3.1's piecewise scaling as its reference code defines it.
class RopeTable {
 public:
  explicit RopeTable(const RopeSpec& spec);

  // Cosines and sines [rotary_dim / 2] at `position`, both times the attention factor of YaRN.
  void at(int64_t position, float* cosines, float* sines) const;
  // [rotary_dim / 2], radians per position.
  const std::vector<double>& frequencies() const noexcept { return frequencies_; }
  int64_t half() const noexcept { return static_cast<int64_t>(frequencies_.size()); }

 private:
  std::vector<double> frequencies_;  // [rotary_dim / 2], radians per position
  double magnitude_ = 1.0;
};

}  // namespace sluice
