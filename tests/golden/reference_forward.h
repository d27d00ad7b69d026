// A forward pass in double precision that shares nothing with the engine's: written from the models' papers
// and published configurations, one position and one sum at a time. It reads values by encoding/reference.h
// and finds tensors by format/checkpoint.h; what architecture a checkpoint is, what its fields mean and what
// is computed from them is decided here anew.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::test {

struct ReferenceResult {
  int64_t vocab = 0;
  std::vector<double> logits;  // [n_tokens, vocab]
};

// All tokens of one sequence. Supports what the engine does: Llama (RoPE scaling llama3, linear, yarn),
// Mistral, Qwen2, Qwen3, Qwen3-MoE, Mixtral and OLMoE of both file families. Throws std::runtime_error where
// a checkpoint is not one of them.
ReferenceResult reference_forward(const std::string& path, const std::vector<int32_t>& tokens);

}  // namespace sluice::test
