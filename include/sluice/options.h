// What a caller may choose. Everything here picks resources or sampling; nothing changes what the model
// computes but `activations` and `kv`, which name documented formats, and `lossy`.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

enum class KvFormat : uint8_t { kF32, kF16, kBF16, kInt8 };
enum class ActivationFormat : uint8_t { kDefault, kF32 };  // default: what each encoding documents

struct EngineOptions {
  std::string model = "demo";  // directory, GGUF file, name in the Hugging Face cache, or "demo"
  std::string ram = "auto";    // ceiling on the whole process: "6G", "50%" of the machine or cgroup, "auto"
  std::string weights;         // bound on the weight store alone: "4G", "50%" of the weights, "min" for the
                               // least that works; empty: none
  int64_t n_ctx = 0;           // context in tokens; 0: what the model was trained for, at most 4096
  int64_t n_sequences = 1;     // sessions alive at once; each may hold what Engine::load() reserves
  int64_t logit_rows = 0;      // rows of logits that a pass may hand to sinks; 0: one per session
  int n_threads = 0;           // 0: the CPUs that this process may use
  int64_t prefill_chunk = 0;   // tokens per forward pass of a prompt; 0: chosen from the budget
  KvFormat kv = KvFormat::kF16;
  ActivationFormat activations = ActivationFormat::kDefault;
  std::string io = "auto";   // "auto", "direct", "buffered"
  std::string ssd_limit;     // "2G/s": read no faster than this; empty: as fast as the drive can
  double ssd_max_temp = 75;  // degrees Celsius above which reads slow down, where the system shows them
  // "5%": how much of its speed arithmetic may lose to reads that nobody waits for yet (ahead of dense
  // weights, of predicted experts) before they are slowed down; empty: they never are.
  std::string max_slowdown;
  std::vector<std::string> mirrors;  // directories with copies of the model's files, best on other drives
  // Which expert is given up; an unknown name is refused with all names.
  std::string cache_policy = "forward";
  std::string cache_split = "shared";  // "shared": one pool; "measured": divided by what layers miss
  int expert_split = 1;                // 2: experts are cached in halves
  // Which experts are read before they are asked for: "off"; "auto", none, one of each layer or all that the
  // linear predictor says, whichever is fastest; or always what one predictor says: "router", "linear",
  // "shadow", "cooccurrence", "previous", "frequency", or "linear:2", at most two of a layer; "study" reads
  // none and counts how often each would be right.
  std::string prefetch = "auto";
  // Experts of a token in a layer that are computed beside the router, before it has chosen: the likeliest
  // that are in memory, by the predictor of `prefetch` or else by the token before. At most so many; 0: none.
  int64_t speculate_experts = 0;
  // The one thing here that changes results: "topk:T", "bias:B", "skip", "stand-in:T", "stand-in-all:T" leave
  // out or replace experts. Empty: exact.
  std::vector<std::string> lossy;
  // The same model with its experts in a smaller encoding, which "stand-in" keeps in memory; empty: none.
  std::string stand_in;
  // A kind of work, "coding": load() begins with the experts in memory that this model used most in it, by
  // the user's profile of that name, and Engine::learn_task() teaches the profile. Empty: none.
  std::string task;
  size_t timeline_spans = 0;  // that Engine::timeline() may keep, 56 bytes each; 0: none
  bool monitor = false;       // keep what Engine::monitor() tells, about 2 MB
  bool governor = true;       // give cached experts back while others need the memory
  std::string isa;            // instruction set of the kernels; empty: the best of this CPU
};

// How the next token is chosen from the logits. In this order: logit bias, penalties, top-k, typical, top-p,
// min-p, then the temperature, then one draw. All but the temperature look at the distribution at
// temperature 1, so that a hot sampler still draws from what the filters kept. At least one token always
// stays. Sources: top-p https://arxiv.org/abs/1904.09751, typical https://arxiv.org/abs/2202.00666,
// min-p https://arxiv.org/abs/2407.01082, repetition penalty https://arxiv.org/abs/1909.05858.
struct SamplerOptions {
  float temperature = 0.8F;         // 0: greedy
  int32_t top_k = 40;               // 0: off
  float top_p = 0.95F;              // 1: off
  float min_p = 0.05F;              // 0: off
  float typical_p = 1.0F;           // 1: off
  float repetition_penalty = 1.0F;  // 1: off; positive logits are divided by it, others multiplied
  float presence_penalty = 0.0F;    // taken once from every token that occurred
  float frequency_penalty = 0.0F;   // taken for each time that it occurred
  int32_t penalty_window = 64;      // last tokens, prompt included, that penalties look at; -1: all
  std::vector<std::pair<int32_t, float>> logit_bias;  // token, added to its logit; -inf forbids it
  uint64_t seed = 0;  // the draw for a position depends on seed and position alone
};

struct GenerateOptions {
  SamplerOptions sampler;
  int64_t max_tokens = -1;           // new tokens; -1: until the context is full
  std::vector<std::string> stop;     // strings that end the answer; they are not part of it
  std::vector<int32_t> stop_tokens;  // besides the model's end-of-generation tokens
  bool ignore_eos = false;
};

}  // namespace sluice
