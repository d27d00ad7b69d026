// Turns one checkpoint into a smaller one by rounding to nearest: any model that the engine reads, into MLX
// affine or plain floats in a Hugging Face directory, or Q4_0, Q8_0 and floats in a GGUF file. Tensors pass
// through in blocks of rows, so that memory does not grow with the model. Docs: docs/formats.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "encoding/encoding.h"

namespace sluice {

struct CompressOptions {
  std::string model;  // path of the source
  std::string out;    // "*.gguf": a GGUF file, else a Hugging Face directory; must not exist
  Encoding encoding = Encoding::kAffine4;
  uint16_t group = 64;  // of affine encodings; smaller for rows that it does not divide
  // For single kinds of tensors. By default embedding and head are like the rest and the router is kept
  // precise: affine8 in groups of 64 among affine, f32 in GGUF.
  std::optional<Encoding> embedding, head, router;
  int n_threads = 2;
};

// What became of all tensors of one kind and encoding.
struct CompressedKind {
  std::string kind;  // "embedding", "attention", "ffn", "experts", "router", "head", "norms and biases"
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  int64_t n_tensors = 0;
  int64_t n_weights = 0;
  uint64_t bytes = 0;
  double worst_error = 0;    // rms of the change / rms of the values, of the worst tensor
  std::string worst_tensor;  // its name in the output; empty where nothing changed
};

struct CompressResult {
  uint64_t bytes_before = 0;  // of all tensors of the source
  uint64_t bytes_after = 0;
  int64_t n_weights = 0;
  std::vector<CompressedKind> kinds;
  double bits_per_weight() const noexcept {
    return 8.0 * static_cast<double>(bytes_after) / static_cast<double>(n_weights);
  }
};

// Throws Error; what cannot be expressed in the target is refused (kUnsupported, kInvalid) before anything is
// written. `progress` counts bytes of the output and is called from this thread; it may throw to cancel. The
// output appears whole or not at all. Its bytes do not depend on n_threads.
CompressResult compress(const CompressOptions& options,
                        const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace sluice
