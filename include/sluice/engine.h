// A loaded model with its weight store. All that a program needs: open, tokenize, load, new_session, step.
// CLI, server and benchmarks stand on this and on session.h alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/error.h"
#include "sluice/monitor.h"
#include "sluice/options.h"
#include "sluice/session.h"

namespace sluice {

// What one encoding contributes to a model.
struct EncodingUse {
  std::string name;  // "q4_0"
  int64_t n_weights = 0;
  uint64_t bytes = 0;  // with scales
  double bits_per_weight() const {
    return n_weights ? 8.0 * static_cast<double>(bytes) / static_cast<double>(n_weights) : 0;
  }
};

struct ModelInfo {
  std::string path;
  std::string family;        // "Hugging Face" or "GGUF"
  std::string architecture;  // "qwen3_moe"
  int64_t n_layers = 0, hidden = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, vocab = 0;
  int64_t n_experts = 0, n_experts_per_token = 0;  // 0 for dense models
  int64_t n_moe_layers = 0;                        // layers with experts
  int64_t expert_parameters = 0;                   // of one expert
  int64_t trained_context = 0;
  int64_t n_parameters = 0;
  int64_t n_active_parameters = 0;     // that one token is multiplied with
  std::vector<EncodingUse> encodings;  // of the matrices, largest share first
  uint64_t file_bytes = 0;             // of all tensors
  uint64_t bytes_per_token = 0;        // weight bytes that one generated token reads from memory
  uint64_t expert_bytes = 0;           // of the largest expert; 0 for dense models
  uint64_t experts_bytes = 0;          // of all of them
  uint64_t kv_bytes_per_token = 0;
  std::vector<int64_t> attention_windows;  // tokens that a layer looks back at, of each layer; 0: all
};

// What one operator of the forward pass has cost so far.
struct OperatorStats {
  std::string name;  // "attention"
  uint64_t calls = 0;
  double seconds = 0;
  uint64_t bytes = 0;  // of weights and KV cache that it had to read
};

// How well a predictor of experts did: of those that it put first, how many the next router chose.
struct PredictorStats {
  std::string name;
  uint64_t n_predicted = 0, n_right = 0;
  double accuracy() const {
    return n_predicted ? static_cast<double>(n_right) / static_cast<double>(n_predicted) : 0;
  }
};

// What reads cost the arithmetic beside them, of passes with few rows, and how they were held back for it.
struct PaceStats {
  double max_slowdown = 0;        // EngineOptions::max_slowdown as it was understood; 0: nothing is measured
  double measured_seconds = 0;    // of matrix products whose speed without reads is known
  double lost = 0;                // share of these that reads of all kinds took
  double slowdown = 0;            // of it, those that nobody waited for yet
  uint64_t bytes_per_s = 0;       // the most that these may take now; 0: no limit
  uint64_t windows = 0;           // of 0.25 s and more, that were judged
  uint64_t limited_windows = 0;   // of them, under a limit
  uint64_t io_bound_windows = 0;  // more time waited for reads than lost to them: nothing to limit
  uint64_t failures = 0;          // limits that cost more than they gave back, and were lifted
};

struct EngineStats {
  // memory, bytes
  uint64_t budget_bytes = 0;                             // --ram as it was understood
  uint64_t resident_bytes = 0, peak_resident_bytes = 0;  // of the process
  uint64_t pinned_bytes = 0, cache_bytes = 0, ring_bytes = 0, kv_bytes = 0, scratch_bytes = 0;
  uint64_t streamed_bytes = 0;  // weights read from disk in every pass
  // input/output since the model was loaded
  uint64_t bytes_read = 0, reads = 0;
  double stall_seconds = 0;  // the computation waited for weights
  PaceStats pace;
  // expert cache; of parts where EngineOptions::expert_split cuts experts
  uint64_t hits = 0, misses = 0, evictions = 0, wasted_bytes = 0;
  std::string task;                           // EngineOptions::task
  uint64_t task_tokens = 0;                   // that its profile had been learned from before
  uint64_t warm_experts = 0, warm_bytes = 0;  // that load() has read into the cache by it
  // prefetching of experts
  uint64_t prefetched_bytes = 0, useful_prefetched_bytes = 0;
  // decode passes of "auto": without, and with the experts that were likely in each layer
  uint64_t prefetch_passes_off = 0, prefetch_passes_on = 0;
  std::vector<PredictorStats> predictors;
  // experts computed before their router had chosen; then chosen; bytes read from memory for the others
  uint64_t speculated_experts = 0, confirmed_experts = 0, speculation_wasted_bytes = 0;
  double hit_rate() const {
    return hits + misses ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
  }
  std::string lossy;             // what lossy routing does; empty: the output is exact
  uint64_t dropped_experts = 0;  // that it has left out
  uint64_t stand_ins_used = 0;   // in place of experts
  // the governor: how often the cache gave memory back or took it again, and how much
  uint64_t cache_shrinks = 0, cache_grows = 0, given_back_bytes = 0, taken_again_bytes = 0;
  double give_back_seconds = 0, longest_give_back_seconds = 0;  // from seeing a sign to the end
  // work
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0, load_seconds = 0;
  std::vector<OperatorStats> operators;  // of the passes since the model was loaded, sampling last
  std::string io;                        // "io_uring, O_DIRECT, depth 16"
  std::string governor;                  // "watches PSI, cgroup v2, MemAvailable", or why nothing is watched
  std::string kernels;                   // "avx512"
  int n_threads = 0;
};

// What a budget would give, from the files' headers alone.
struct MemoryOutlook {
  uint64_t ram_bytes = 0;        // the budget asked about
  uint64_t smallest_ram = 0;     // the least that load() accepts, rounded up to whole MiB
  uint64_t one_token_ram = 0;    // below it the expert cache is too small for one token's experts
  uint64_t comfortable_ram = 0;  // everything resident
  uint64_t knee_ram = 0;         // and the largest chunks of prompt: more changes nothing
  bool fits = false;             // ram_bytes >= smallest_ram; what follows is 0 otherwise
  int64_t prefill_chunk = 0;     // tokens per forward pass of a prompt
  uint64_t process_bytes = 0;    // the program itself: what is resident now, and a margin
  uint64_t kv_bytes = 0, scratch_bytes = 0, weight_bytes = 0;  // at most
  uint64_t pinned_bytes = 0, cache_bytes = 0, ring_bytes = 0;  // parts of weight_bytes
  uint64_t streamed_bytes = 0;                                 // read from disk in every pass
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

// Not thread-safe: one thread owns an engine and its sessions.
class Engine {
 public:
  // done and total in bytes, while weights are loaded. May throw to cancel.
  using Progress = std::function<void(uint64_t done, uint64_t total)>;

  // Opens the files and checks every tensor against the architecture; reads no weights but the small ones
  // that always stay (norms, routers). Throws Error. Works without a tokenizer in the checkpoint
  // (has_tokenizer() is false then). Bounds glibc's malloc arenas for the whole process, so that memory that
  // is given back leaves it.
  static std::unique_ptr<Engine> open(const EngineOptions& options);

  // Divides the budget and loads. Each of the n_sequences sessions may come to hold `reserve_tokens` tokens
  // (prompt and requested ones; 0: n_ctx). Throws Error(kNoMemory) that names the smallest --ram that would
  // do before anything is loaded. Once per engine; sessions need it.
  void load(int64_t reserve_tokens = 0, const Progress& progress = {});

  // What load(reserve_tokens) would do with `ram_bytes`.
  MemoryOutlook outlook(uint64_t ram_bytes, int64_t reserve_tokens = 0) const;

  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const ModelInfo& info() const noexcept;
  int64_t n_ctx() const noexcept;
  EngineStats stats() const;
  // "1.20 GiB on huge pages; not locked in memory: ...", and why --ram auto took what it did. Takes some
  // milliseconds.
  std::string describe_memory() const;
  std::vector<std::string> warnings() const;  // e.g. a budget below one token's experts

  bool has_tokenizer() const noexcept;
  // As a prompt: with the BOS token if the model wants one, special tokens in the text recognised.
  // These throw Error(kUnsupported) where the checkpoint has no tokenizer.
  std::vector<int32_t> tokenize(std::string_view text, bool add_bos = true, bool parse_special = true) const;
  std::string detokenize(std::span<const int32_t> ids, bool skip_special = false) const;
  std::vector<int32_t> end_tokens() const;
  bool has_chat_template() const noexcept;
  // The prompt text for these messages by the model's own template (plain joining where it has none).
  std::string render_chat(std::span<const ChatMessage> messages, bool add_generation_prompt = true) const;

  // The token ids of render_chat(), ready for Session::append().
  std::vector<int32_t> chat_tokens(std::span<const ChatMessage> messages,
                                   bool add_generation_prompt = true) const;
  // What the model's generation_config.json recommends, over the defaults of SamplerOptions.
  SamplerOptions default_sampler() const;
  // Error(kInvalid) for options that Session::append() would refuse.
  void check(const GenerateOptions& options) const;

  std::unique_ptr<Session> new_session();

  // Advances every session that has something to do by one pass over the weights: a chunk of its prompt, or
  // one new token. Sessions with nothing to do are left alone. Returns how many were advanced. When it
  // throws, no session has lost tokens: those that had not been advanced can be stepped again, one whose
  // sampling or sink failed is cancelled.
  size_t step(std::span<Session* const> sessions);

  // Replaces EngineOptions::lossy from the next step() on; needs load(). The counts of tokens, of their
  // seconds and of experts left out or stood in for begin anew. Error(kInvalid).
  void set_lossy(const std::vector<std::string>& modes);

  // Writes what was computed, waited for and read when, since load() began: JSON in Chrome's trace event
  // format. Needs EngineOptions::timeline_spans. Error(kIo).
  void write_timeline(const std::string& path) const;

  // Adds the routing since load() (or the last call) to the profile of EngineOptions::task and saves it in
  // the user's state directory. Returns the tokens it learned from: 0 without a task, and with lossy routing,
  // whose choices are not the router's. Writes to disk: call it when the work is done. Error.
  uint64_t learn_task();

  // Tells one model's weights from another's, whatever their files are called. Reads a little from disk.
  uint64_t fingerprint() const;

  // What the engine is doing, with the last pass cut into `n_slices`. Needs EngineOptions::monitor, and
  // load(). The one thing here that other threads may call while this one is in step().
  MonitorSnapshot monitor(size_t n_slices) const;

  // Called for every token and MoE layer with the chosen experts in router order and their weights. Empty:
  // off.
  using RouteSink = std::function<void(int64_t layer, int64_t position, std::span<const int32_t> experts,
                                       std::span<const float> weights)>;
  void set_route_sink(RouteSink sink);

  struct Impl;  // engine/engine_impl.h

 private:
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
