#include "tests/golden/model_runner.h"

#include <algorithm>

namespace sluice::test {

ModelRunner::ModelRunner(const std::string& path, const RunOptions& options)
    : pool_(options.n_threads), budget_(UINT64_MAX), chunk_(options.chunk) {
  ModelOptions model_options;
  model_options.compute = {&kernel_table(options.isa), &pool_, options.f32_activations};
  model_options.store = options.store;
  model_options.kv_type = options.kv;
  model_options.prefetch = options.prefetch;
  model_options.speculate_experts = options.speculate_experts;
  model_options.expert_parts = options.expert_parts;
  if (!options.stand_in.empty()) model_options.stand_in = Checkpoint::open(options.stand_in);
  model_options.max_batch_tokens = std::max<int64_t>(chunk_, 8);
  model_ = std::make_unique<Model>(Checkpoint::open(path), model_options);
  const StoreNeeds needs = model_->needs().weights;
  const auto share = static_cast<uint64_t>(static_cast<double>(needs.all) * options.weights);
  if (!options.expert_rates.empty()) model_->set_expert_rates(options.expert_rates);
  model_->load(std::max(share, needs.minimum), budget_);
  model_->set_lossy(options.lossy);
}

std::vector<float> ModelRunner::all_logits(const std::vector<int32_t>& tokens) {
  const auto sequence = model_->new_sequence();
  std::vector<float> logits;
  for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(chunk_)) {
    const size_t n = std::min(static_cast<size_t>(chunk_), tokens.size() - begin);
    const BatchItem item[] = {{sequence.get(), std::span(tokens).subspan(begin, n), LogitsWanted::kAll}};
    const auto rows = model_->forward(item);
    logits.insert(logits.end(), rows.begin(), rows.end());
  }
  return logits;
}

std::vector<std::vector<float>> ModelRunner::batched_logits(
    const std::vector<std::vector<int32_t>>& sequences) {
  std::vector<std::unique_ptr<SequenceState>> states;
  for (size_t i = 0; i < sequences.size(); ++i) states.push_back(model_->new_sequence());
  std::vector<std::vector<float>> logits(sequences.size());
  const auto vocab = static_cast<size_t>(spec().vocab);
  size_t longest = 0;
  for (const auto& tokens : sequences) longest = std::max(longest, tokens.size());
  for (size_t t = 0; t < longest; ++t) {
    std::vector<BatchItem> batch;
    std::vector<size_t> who;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (t >= sequences[i].size()) continue;
      batch.push_back({states[i].get(), std::span(sequences[i]).subspan(t, 1), LogitsWanted::kAll});
      who.push_back(i);
    }
    const auto rows = model_->forward(batch);
    for (size_t r = 0; r < who.size(); ++r) {
      const auto row = rows.subspan(r * vocab, vocab);
      logits[who[r]].insert(logits[who[r]].end(), row.begin(), row.end());
    }
  }
  return logits;
}

std::vector<int32_t> ModelRunner::greedy(const std::vector<int32_t>& prompt, int64_t n) {
  const auto sequence = model_->new_sequence();
  std::vector<int32_t> tokens = prompt;
  std::vector<int32_t> next = prompt;
  for (int64_t i = 0; i < n; ++i) {
    const BatchItem item[] = {{sequence.get(), next, LogitsWanted::kLast}};
    const auto logits = model_->forward(item);
    next = {static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    tokens.push_back(next[0]);
  }
  return tokens;
}

}  // namespace sluice::test
