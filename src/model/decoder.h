// The forward pass. Owns its scratch; neither the weights nor the sequences.
#pragma once

#include <span>

#include "model/activation_buffers.h"
#include "model/blocks/attention_gqa.h"
#include "model/blocks/ffn_moe.h"
#include "model/blocks/linear.h"
#include "model/bound_model.h"
#include "model/layer_clock.h"
#include "model/model.h"
#include "model/predictor/prefetcher.h"
#include "model/product_clock.h"
#include "model/rope_table.h"
#include "model/speculation.h"
#include "platform/memory_budget.h"

namespace sluice {

// Not thread-safe. `model`, `store` and `budget` outlive it.
class Decoder {
 public:
  Decoder(const BoundModel& model, const Compute& compute, WeightStore& store, MemoryBudget& budget,
          int64_t max_batch_tokens, const std::string& prefetch, int64_t speculate_experts);
  void set_timeline(Timeline* timeline) { profile_.set_timeline(timeline); }
  void set_layer_clock(LayerClock* clock) { layer_clock_ = clock; }  // which outlives it
  void set_lossy(const LossyRouting& lossy) {
    context_.lossy = lossy;
    context_.n_dropped_experts = 0;
    context_.stand_ins.reset();
  }
  uint64_t n_dropped_experts() const { return context_.n_dropped_experts; }
  uint64_t n_stand_ins_used() const { return context_.stand_ins.n_used(); }
  ~Decoder();

  // See Model::forward(). The batch has been checked.
  std::span<const float> forward(std::span<const BatchItem> batch, const RouteObserver& observer);

  const Profile& profile() const noexcept { return profile_; }
  PrefetchReport prefetch_report() const { return prefetcher_.report(); }
  const SpeculationCounts& speculation() const { return speculation_.counts(); }

 private:
  void embed(std::span<const BatchItem> batch);
  void rotate(std::span<const BatchSpan> spans);
  void norm(const std::vector<float>& weight, int64_t n);
  void add_projected(int64_t n);
  void observe(int64_t layer, std::span<const BatchSpan> spans, const RouteObserver& observer) const;
  std::span<const float> logits(std::span<const BatchItem> batch, std::span<const BatchSpan> spans);

  const BoundModel& model_;
  MemoryBudget& budget_;
  RopeTable rope_;
  ActivationBuffers buffers_;
  Profile profile_;
  LayerClock* layer_clock_ = nullptr;
  ProductClock product_clock_;
  const uint64_t predictor_bytes_;
  Prefetcher prefetcher_;
  Speculation speculation_;
  ExecContext context_;
  MoeRouting routing_;
  PageBuffer logits_;  // grows to the most rows wanted so far
};

}  // namespace sluice
