// Computes experts before their router has chosen them. While one token is made, the gate and up products of
// the experts that are thought likeliest, and are in memory, run in the router's own parallel region; what
// the router then confirms is used, the rest was in vain and is counted. Only when something is computed
// changes, never how its sums run: the output is the same to the bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "model/bound_model.h"
#include "store/weight_store.h"

namespace sluice {

struct SpeculationCounts {
  uint64_t experts = 0;       // computed before their router had chosen
  uint64_t confirmed = 0;     // and then chosen
  uint64_t wasted_bytes = 0;  // of weights that were read from memory for the others
};

// Used by the decoder's thread.
class Speculation {
 public:
  // At most `n_experts` of a token in each layer; 0: none.
  Speculation(const ModelSpec& spec, int64_t n_experts);
  static uint64_t bytes(const ModelSpec& spec, int64_t n_experts);  // for the account

  bool is_on() const noexcept { return most_ > 0; }

  // A layer's router is about to be computed for `input`. `guess`: its experts, likeliest first; empty: those
  // of the token before. Returns what is to be computed beside the router, nothing if there is more than one
  // row, and keeps the weights where they are until end().
  std::span<const MatmulTask> begin(WeightStore& store, const Compute& compute, int64_t layer,
                                    const ExpertWeights& experts, std::span<const int32_t> guess,
                                    Activations& input);
  // It has chosen `experts` (any order) for the last row of the pass.
  void end(int64_t layer, std::span<const int32_t> experts);

  // What begin() made of an expert [expert_width]; null if it is not among those computed.
  const float* gate(int32_t expert) const noexcept { return result(expert, 0); }
  const float* up(int32_t expert) const noexcept { return result(expert, 1); }

  const SpeculationCounts& counts() const noexcept { return counts_; }

 private:
  const float* result(int32_t expert, int64_t which) const noexcept;

  int64_t most_, width_, k_;
  std::vector<float> results_;     // [most, 2, expert_width] gate and up
  std::vector<int32_t> last_;      // [n_layers, k] chosen by the token before; -1: none
  std::vector<int32_t> computed_;  // experts, in the order of results_
  std::vector<UnitRange> ranges_;  // that lease_ holds
  std::vector<MatmulTask> tasks_;
  Lease lease_;
  uint64_t expert_bytes_ = 0;  // that the tasks of one expert read
  SpeculationCounts counts_;
};

}  // namespace sluice
