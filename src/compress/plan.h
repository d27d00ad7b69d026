// What the output holds: its tensors by name, each with its encoding and the rows of the source that it is
// made of. Decides everything before a byte is written. Not here: the bytes (recode.h), what else the output
// says of the model (hf_output.cc, gguf_output.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compress/compress.h"
#include "format/checkpoint.h"
#include "model/arch_spec.h"
#include "model/bound_model.h"

namespace sluice {

enum class TensorKind : uint8_t { kEmbedding, kAttention, kFfn, kExperts, kRouter, kHead, kVector };
std::string_view tensor_kind_name(TensorKind kind) noexcept;

// GGUF files of llama's family hold each query and key head with the two halves of its rows interleaved, so
// that RoPE turns neighbours.
enum class RowOrder : uint8_t { kSame, kHalvesToPairs, kPairsToHalves };

struct PlannedTensor {
  std::string name;  // in the output, without ".weight"; of a vector whole
  TensorKind kind = TensorKind::kVector;
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  int64_t stack = 0;  // matrices one after another; 0: a single one, without that dimension
  int64_t rows = 0;   // of one matrix; 0: a vector
  int64_t cols = 0;
  RowOrder order = RowOrder::kSame;
  int64_t head_dim = 0;           // where order is not kSame
  std::vector<WeightRef> source;  // the rows of the stack, block after block, in the source's order
  std::vector<float> values;      // of a vector [cols]

  int64_t n_rows() const noexcept;  // of the stack
  int64_t n_weights() const noexcept { return n_rows() * cols; }
  uint64_t bytes() const noexcept;                  // of all planes
  int64_t source_row(int64_t row) const noexcept;   // that becomes row `row`
  std::vector<uint64_t> shape(int64_t last) const;  // [stack, rows, last], [rows, last] or [last]
};

struct CompressPlan {
  CheckpointFamily source_family = CheckpointFamily::kHuggingFace;
  CheckpointFamily family = CheckpointFamily::kHuggingFace;  // of the output
  const ArchSpec* source_arch = nullptr;
  const ArchSpec* arch = nullptr;  // of the output: Mixtral is llama in GGUF, and back
  BoundModel model;
  std::vector<PlannedTensor> tensors;

  const TensorNames& source_names() const noexcept;
  uint64_t bytes() const noexcept;  // of all tensors
};

// Throws Error(kInvalid) for options that contradict each other or the model.
CompressPlan plan_compression(const Checkpoint& source, const CompressOptions& options);

}  // namespace sluice
