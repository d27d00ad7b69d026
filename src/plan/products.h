// How fast the engine's own kernels are on this machine: products by encoding and number of input rows, and
// attention. Unlike peaks.h, which says what the hardware allows, this is what a model will get.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "platform/memory_info.h"

namespace sluice {

inline constexpr size_t kNumProductRows = 5;
inline constexpr int64_t kProductRows[kNumProductRows] = {1, 4, 16, 64, 256};

// Of one encoding with its documented activation format; weights come from memory, not from a cache.
struct ProductSpeed {
  std::string encoding;                           // "q4_0"
  double bytes_per_second[kNumProductRows] = {};  // of weights, for kProductRows input rows
  double bits_per_weight = 0;

  double operations_per_second(size_t i) const {  // a multiply and an add are two
    return 2 * static_cast<double>(kProductRows[i]) * bytes_per_second[i] * 8 / bits_per_weight;
  }
};

// Of an f16 cache: bytes of keys and values per second for one query, operations per second for many.
struct AttentionSpeed {
  double bytes_per_second = 0;
  double operations_per_second = 0;
};

// Memory that stands for weights and KV caches: larger than the caches if `buffer_bytes` is.
class ProductBench {
 public:
  ProductBench(int n_threads, uint64_t buffer_bytes);

  // About `seconds` for each number of rows; the median of at least three passes.
  ProductSpeed product(const std::string& encoding, double seconds) const;
  AttentionSpeed attention(double seconds) const;

  static std::vector<std::string> encodings();  // all that kernels multiply

 private:
  int n_threads_;
  PageBuffer buffer_;
};

}  // namespace sluice
