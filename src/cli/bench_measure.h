// What bench runs on an engine: prefill and decode at a depth, of one sequence or of several at once, and
// what is counted while they run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/engine.h"
#include "sluice/session.h"

namespace sluice {

// Several measurements of one thing, ascending.
struct Spread {
  std::vector<double> values;

  void add(double value);
  double median() const;  // 0 for no values, as the others
  double low() const { return values.empty() ? 0 : values.front(); }
  double high() const { return values.empty() ? 0 : values.back(); }
};

// `tokens` read at once, or made one by one, after `depth` tokens that are already there.
struct BenchTest {
  bool prefill = false;
  int64_t tokens = 0;
  int64_t depth = 0;

  int64_t end() const { return depth + tokens + 1; }  // tokens that the sequence comes to hold
  std::string name() const;                           // "decode 64 at 8192"
  bool operator==(const BenchTest&) const = default;
};

// The experts that the steps of a test touched, layer << 32 | id, each once per step, in the order of the
// steps.
using Trace = std::vector<uint64_t>;

struct Sample {
  double seconds = 0;
  uint64_t n_tokens = 0;  // of all sequences
  uint64_t n_steps = 0;   // passes over the weights
  uint64_t bytes_read = 0, hits = 0, misses = 0, useful_prefetched_bytes = 0, wasted_bytes = 0;
  double stall_seconds = 0;
  uint64_t speculated = 0, confirmed = 0, speculation_wasted_bytes = 0;  // see EngineStats
  Trace trace;
  std::vector<OperatorStats> operators;  // in the order of EngineStats
};

// The rounds of one test.
struct Measured {
  BenchTest test;
  int64_t n_sequences = 1;
  Spread tok_s;   // of all sequences together
  Spread pass_s;  // seconds of a whole prompt, or of one step of decoding
  Sample total;   // the trace is the last round's
  uint64_t last_steps = 0;

  void add(Sample sample);
  double per_token(double amount) const { return amount / static_cast<double>(total.n_tokens); }
};

// The sequences that tests run on. A sequence that is deep enough already is cut back, one that is not is
// filled with random tokens; so tests in ascending order of depth fill only once. Throws Error(kCancelled) on
// an interrupt.
class Workload {
 public:
  // The engine is loaded.
  Workload(Engine& engine, int64_t n_sequences);

  // Seconds from a prompt of one token to the first new one.
  double first_token();
  Sample run(const BenchTest& test, int64_t n_sequences = 1);
  uint64_t peak_kv_bytes() const { return peak_kv_bytes_; }

 private:
  void go_to(size_t sequence, int64_t depth);
  // Others at each call: sequences of a batch, or rounds of a test, that repeat tokens would find the experts
  // of the time before in the cache.
  std::vector<int32_t> random_tokens(int64_t n);

  Engine& engine_;
  uint64_t n_random_ = 0;
  std::vector<std::unique_ptr<Session>> sessions_;
  uint64_t peak_kv_bytes_ = 0;
};

}  // namespace sluice
