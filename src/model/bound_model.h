// A checkpoint whose strings are gone: every weight of the architecture as references into the store's units,
// small vectors as floats. Made by bind() once; immutable after that. After binding, shapes and encodings are
// right, so blocks and kernels may trust them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "model/model_spec.h"
#include "store/weight_store.h"

namespace sluice {

// A matrix [rows, cols] in one or more blocks of rows, each a part of one unit.
struct Weight {
  std::string name;  // of the tensor, for messages
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  int64_t rows = 0;               // outputs
  int64_t cols = 0;               // inputs
  std::vector<WeightRef> pieces;  // in order of rows; all but the last have the same number
  std::vector<float> bias;        // [rows], or empty

  explicit operator bool() const noexcept { return !pieces.empty(); }
};

// The experts of one layer, each in n_parts units that are laid out alike. A part has that share of the rows
// of gate, of up and of down.
struct ExpertWeights {
  UnitId first_unit = 0;
  uint32_t n_parts = 1;
  WeightRef gate, up;  // of a part [expert_width / n_parts, hidden], unit to be set
  WeightRef down;      // [hidden / n_parts, expert_width], unit to be set

  UnitId unit(int64_t expert, uint32_t part = 0) const noexcept {
    return first_unit + static_cast<UnitId>(expert) * n_parts + part;
  }
  int32_t expert_of(UnitId of) const noexcept { return static_cast<int32_t>((of - first_unit) / n_parts); }
  void add_units(int64_t expert, std::vector<UnitRange>& ranges) const {
    for (uint32_t part = 0; part < n_parts; ++part) ranges.push_back({.unit = unit(expert, part)});
  }

  static WeightRef of(WeightRef ref, UnitId unit) noexcept {
    ref.unit = unit;
    return ref;
  }
};

struct LayerWeights {
  std::vector<float> attention_norm;  // [hidden]
  Weight q;                           // [n_heads * head_dim, hidden]
  Weight k, v;                        // [n_kv_heads * head_dim, hidden]
  Weight o;                           // [hidden, n_heads * head_dim]
  std::vector<float> q_norm, k_norm;  // [head_dim], or all heads side by side (QkNorm::kFull)
  std::vector<float> ffn_norm;        // [hidden]
  Weight gate, up;                    // dense: [ffn_width, hidden]
  Weight down;                        // dense: [hidden, ffn_width]
  Weight router;                      // MoE: [n_experts, hidden]
  ExpertWeights experts;              // MoE
  ExpertWeights stand_ins;            // of the same experts, see stand_in.h; none: gate.rows == 0
};

struct BoundModel {
  ModelSpec spec;
  std::vector<std::string> files;
  std::vector<UnitSpec> units;    // in order of access
  Weight embedding;               // [vocab, hidden]; the head's own pieces where they are tied
  Weight head;                    // [vocab, hidden]
  std::vector<float> final_norm;  // [hidden]
  std::vector<LayerWeights> layers;
};

// Dense weights are cut into blocks of rows of about this many bytes, so that a budget can pin and stream
// them finely.
inline constexpr uint64_t kPieceBytes = uint64_t{2} << 20;

// Experts become units of `expert_parts` parts each. Throws Error(kUnsupported, kCorrupt) that names the file
// and the tensor or field, and Error(kInvalid) where experts cannot be parted so.
BoundModel bind(const Checkpoint& checkpoint, uint32_t expert_parts = 1);

}  // namespace sluice
