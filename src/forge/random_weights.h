// Random weights in any encoding, faster than a disk writes: cut at random block boundaries out of a pool of
// encoded Gaussian values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "encoding/encoding.h"

namespace sluice {

using WeightRandom = std::mt19937_64;

// Row bytes of each plane of one encoding, with values of mean 0 and standard deviation `deviation`.
class RandomWeights {
 public:
  RandomWeights(Encoding encoding, EncodingParams params, double deviation, WeightRandom& random);

  using Sink = std::function<void(std::span<const std::byte>)>;
  // `bytes` (whole blocks) of plane `plane`.
  void write(size_t plane, uint64_t bytes, WeightRandom& random, const Sink& sink) const;

 private:
  std::array<std::vector<std::byte>, kMaxPlanes> pool_;
  std::array<size_t, kMaxPlanes> unit_ = {};  // a cut is a multiple of these bytes
};

}  // namespace sluice
