// A bound model: the architecture's axes, the checkpoint's weights, the store that holds them and one
// forward(). What a sequence carries from pass to pass is SequenceState's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "kernels/kernels.h"
#include "model/layer_clock.h"
#include "model/lossy.h"
#include "model/model_spec.h"
#include "model/predictor/prefetcher.h"
#include "model/profile.h"
#include "model/speculation.h"
#include "platform/memory_budget.h"
#include "store/weight_store.h"

namespace sluice {

class SequenceState;
struct BoundModel;

enum class LogitsWanted : uint8_t { kNone, kLast, kAll };

// Consecutive new tokens of one sequence.
struct BatchItem {
  SequenceState* sequence = nullptr;
  std::span<const int32_t> tokens;  // appended at sequence->n_tokens()
  LogitsWanted logits = LogitsWanted::kLast;
};

// (layer, sequence item in the batch, position, experts in router order, their weights). Of lossy routing
// some experts may be -1.
using RouteObserver = std::function<void(int64_t layer, size_t item, int64_t position,
                                         std::span<const int32_t> experts, std::span<const float> weights)>;

struct ModelOptions {
  Compute compute;
  StoreOptions store;
  KvType kv_type = KvType::kF16;
  std::string prefetch = "auto";               // see Prefetcher
  int64_t speculate_experts = 0;               // see Speculation
  uint32_t expert_parts = 1;                   // that an expert is cached in
  std::shared_ptr<const Checkpoint> stand_in;  // the same model with smaller experts; none: no stand-ins
  int64_t max_batch_tokens = 512;              // rows of one forward()
  int64_t n_ctx = 0;                           // positions that RoPE tables and scratch must cover
  bool watched = false;                        // somebody will watch()
};

// What became of a layer's parts: its experts by id, or the blocks of its matrices in order of access.
struct LayerState {
  bool has_experts = false;
  std::vector<UnitState> parts;
};

struct ModelState {
  int64_t layer = -1;  // that runs now; the number of layers for the head; -1: no pass runs
  uint32_t pass = 0;   // number of the last pass, for UnitState::last_pass
  LayerTimes times;
  std::vector<LayerState> layers;
};

// What a model would need, from its header alone.
struct ModelNeeds {
  StoreNeeds weights;
  uint64_t kv_bytes_per_token = 0;  // of one sequence, in whole blocks of kKvBlockTokens
  uint64_t scratch_bytes = 0;       // activations for max_batch_tokens
};

// What one encoding contributes to a model.
struct EncodingShare {
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  uint64_t weights = 0;  // numbers
  uint64_t bytes = 0;    // with their scales
};

// Not thread-safe.
class Model {
 public:
  // Binds, and the stand-ins too: checks every tensor's name, shape and encoding against the architecture.
  // Reads small tensors (norms, biases, router weights) but no other weights. Error(kCorrupt, kUnsupported)
  // names the tensor.
  Model(std::shared_ptr<const Checkpoint> checkpoint, const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelSpec& spec() const noexcept;
  ModelNeeds needs() const;
  uint64_t bytes_per_token() const;   // weight bytes that decoding one token reads from memory
  uint64_t expert_bytes() const;      // of the largest expert; 0 for dense models
  uint64_t experts_bytes() const;     // of all experts of all layers
  uint64_t stand_in_bytes() const;    // of all stand-ins, which needs() counts as well
  int64_t weights_per_token() const;  // numbers that one token is multiplied with
  // Scratch for that many rows of one forward(), of which so many want logits.
  uint64_t scratch_bytes(int64_t max_batch_tokens, int64_t max_logit_rows) const;
  // The matrices by encoding, largest share first; small vectors (norms, biases) are left out.
  std::vector<EncodingShare> encodings() const;
  // The gauges that a store of that size would show. Error(kNoMemory) below needs().weights.minimum.
  StoreStats plan(uint64_t weight_bytes) const;

  // Replaces the option. Precondition: not loaded.
  void set_max_batch_tokens(int64_t n);

  // How often a token chose each expert in former runs, [n_layers, n_experts], 0 in layers without experts:
  // load() then begins with those in memory that were chosen most. Precondition: not loaded.
  void set_expert_rates(std::span<const float> rates);

  // Tells which model this is (model/fingerprint.h). Reads from disk.
  uint64_t fingerprint() const;

  // Creates the store within `weight_bytes` and loads it. `budget` must outlive the model.
  void load(uint64_t weight_bytes, MemoryBudget& budget,
            const std::function<void(uint64_t done, uint64_t total)>& progress = {});

  std::unique_ptr<SequenceState> new_sequence();

  // Reads the items' tokens and appends them to their sequences. Returns logits [n_wanted, vocab], rows in
  // the order of items and positions, valid until the next call. If it throws, the sequences are unchanged.
  // Precondition: load() was called; the tokens of all items together are at most max_batch_tokens; ids are
  // below the vocabulary's size (Error(kInvalid) otherwise); no sequence appears twice.
  std::span<const float> forward(std::span<const BatchItem> batch);

  void set_lossy(const LossyRouting& lossy);  // from the next pass on; exact until then
  uint64_t n_dropped_experts() const;         // that lossy routing has left out since then
  uint64_t n_stand_ins_used() const;          // in place of experts, since then
  void set_route_observer(RouteObserver observer);
  StoreStats store_stats() const;
  Profile profile() const;  // of all passes since load()
  PrefetchReport prefetch_report() const;
  SpeculationCounts speculation() const;
  // Precondition: ModelOptions::watched, loaded. From any thread, as is store_stats().
  ModelState watch() const;
  bool reads_past_page_cache() const;
  std::string describe_io() const;
  std::string describe_memory() const;
  std::string describe_governor() const;

 private:
  friend class Decoder;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
