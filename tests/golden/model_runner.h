// Runs a checkpoint through Model, without tokenizer or engine, at a chosen budget, chunk and thread count.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/sequence_state.h"

namespace sluice::test {

struct RunOptions {
  KvType kv = KvType::kF32;
  bool f32_activations = true;
  int n_threads = 1;
  int64_t chunk = 512;   // tokens per forward pass of a prompt
  double weights = 1.0;  // share of the bytes that everything resident needs; 0: the minimum
  std::string isa;
  StoreOptions store;
  std::string prefetch = "off";
  std::vector<float> expert_rates;  // Model::set_expert_rates(); empty: none
  int64_t speculate_experts = 0;
  uint32_t expert_parts = 1;
  std::string stand_in;  // a checkpoint; empty: none
  LossyRouting lossy;
};

// One loaded model and what it stands on.
class ModelRunner {
 public:
  ModelRunner(const std::string& path, const RunOptions& options);

  Model& model() { return *model_; }
  const ModelSpec& spec() const { return model_->spec(); }

  // Logits of every position [n_tokens, vocab], the prompt read in chunks into a new sequence.
  std::vector<float> all_logits(const std::vector<int32_t>& tokens);
  // The same for several sequences that advance together, one token each per pass.
  std::vector<std::vector<float>> batched_logits(const std::vector<std::vector<int32_t>>& sequences);
  // `prompt` and n greedy tokens after it.
  std::vector<int32_t> greedy(const std::vector<int32_t>& prompt, int64_t n);

 private:
  ThreadPool pool_;
  MemoryBudget budget_;
  int64_t chunk_;
  std::unique_ptr<Model> model_;
};

}  // namespace sluice::test
