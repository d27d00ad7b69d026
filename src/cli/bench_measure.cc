#include "cli/bench_measure.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/report.h"
#include "engine/sampler.h"
#include "platform/clock.h"

namespace sluice {
namespace {

GenerateOptions greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  options.max_tokens = max_tokens;
  return options;
}

void stop_if_interrupted() {
  if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted while measuring");
}

}  // namespace

void Spread::add(double value) {
  values.insert(std::upper_bound(values.begin(), values.end(), value), value);
}

double Spread::median() const {
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

std::string BenchTest::name() const {
  std::string name = (prefill ? "prefill " : "decode ") + std::to_string(tokens);
  if (depth > 0) name += " at " + std::to_string(depth);
  return name;
}

void Measured::add(Sample sample) {
  tok_s.add(per_second(sample.n_tokens, sample.seconds));
  pass_s.add(test.prefill ? sample.seconds : sample.seconds / static_cast<double>(sample.n_steps));
  total.seconds += sample.seconds;
  total.n_tokens += sample.n_tokens;
  total.n_steps += sample.n_steps;
  total.bytes_read += sample.bytes_read;
  total.hits += sample.hits;
  total.misses += sample.misses;
  total.useful_prefetched_bytes += sample.useful_prefetched_bytes;
  total.wasted_bytes += sample.wasted_bytes;
  total.stall_seconds += sample.stall_seconds;
  total.speculated += sample.speculated;
  total.confirmed += sample.confirmed;
  total.speculation_wasted_bytes += sample.speculation_wasted_bytes;
  total.trace = std::move(sample.trace);
  if (total.operators.empty()) {
    total.operators = std::move(sample.operators);
  } else {
    for (size_t i = 0; i < total.operators.size(); ++i) {
      total.operators[i].calls += sample.operators[i].calls;
      total.operators[i].seconds += sample.operators[i].seconds;
      total.operators[i].bytes += sample.operators[i].bytes;
    }
  }
  last_steps = sample.n_steps;
}

Workload::Workload(Engine& engine, int64_t n_sequences) : engine_(engine) {
  for (int64_t i = 0; i < n_sequences; ++i) sessions_.push_back(engine.new_session());
}

std::vector<int32_t> Workload::random_tokens(int64_t n) {
  std::vector<int32_t> ids;
  const auto vocab = static_cast<double>(engine_.info().vocab);
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(counter_random(1, n_random_++) * vocab));
  return ids;
}

void Workload::go_to(size_t sequence, int64_t depth) {
  Session& session = *sessions_[sequence];
  if (session.n_tokens() >= depth) return session.truncate(depth);
  const int64_t from = session.n_cached();
  session.truncate(from);
  session.append(random_tokens(depth - from), greedy(0));
  Session* const sessions[] = {&session};
  ProgressBar bar("filling the context", "tokens");
  while (session.finished() == FinishReason::kNone) {
    stop_if_interrupted();
    engine_.step(sessions);
    bar.update(static_cast<uint64_t>(session.n_cached() - from), static_cast<uint64_t>(depth - from));
  }
}

double Workload::first_token() {
  Session& session = *sessions_.front();
  session.append(random_tokens(1), greedy(1));
  Session* const sessions[] = {&session};
  engine_.step(sessions);
  session.truncate(0);
  return session.first_token_seconds();
}

Sample Workload::run(const BenchTest& test, int64_t n_sequences) {
  std::vector<Session*> sessions;
  for (size_t i = 0; i < static_cast<size_t>(n_sequences); ++i) {
    go_to(i, test.depth);
    Session& session = *sessions_[i];
    const int64_t n_given = test.prefill ? test.tokens : 1;
    session.append(random_tokens(n_given), greedy(test.prefill ? 1 : test.tokens));
    sessions.push_back(&session);
  }
  Sample sample;
  const auto n_experts = static_cast<size_t>(engine_.info().n_experts);
  std::vector<uint64_t> touched(static_cast<size_t>(engine_.info().n_layers) * n_experts);  // by which step
  engine_.set_route_sink(
      [&](int64_t layer, int64_t, std::span<const int32_t> experts, std::span<const float>) {
        for (const int32_t expert : experts) {
          if (expert < 0) continue;  // left out by lossy routing
          uint64_t& last = touched[static_cast<size_t>(layer) * n_experts + static_cast<size_t>(expert)];
          if (last == sample.n_steps + 1) continue;
          last = sample.n_steps + 1;
          sample.trace.push_back(static_cast<uint64_t>(layer) << 32 | static_cast<uint32_t>(expert));
        }
      });
  const EngineStats before = engine_.stats();
  const double start = monotonic_seconds();
  while (engine_.step(sessions) > 0) {
    ++sample.n_steps;
    if (interrupted()) break;
  }
  sample.seconds = monotonic_seconds() - start;
  const EngineStats after = engine_.stats();
  engine_.set_route_sink({});
  stop_if_interrupted();
  sample.n_tokens = static_cast<uint64_t>(test.tokens * n_sequences);
  sample.bytes_read = after.bytes_read - before.bytes_read;
  sample.hits = after.hits - before.hits;
  sample.misses = after.misses - before.misses;
  sample.useful_prefetched_bytes = after.useful_prefetched_bytes - before.useful_prefetched_bytes;
  sample.wasted_bytes = after.wasted_bytes - before.wasted_bytes;
  sample.stall_seconds = after.stall_seconds - before.stall_seconds;
  sample.speculated = after.speculated_experts - before.speculated_experts;
  sample.confirmed = after.confirmed_experts - before.confirmed_experts;
  sample.speculation_wasted_bytes = after.speculation_wasted_bytes - before.speculation_wasted_bytes;
  sample.operators = after.operators;
  for (size_t i = 0; i < sample.operators.size(); ++i) {
    sample.operators[i].calls -= before.operators[i].calls;
    sample.operators[i].seconds -= before.operators[i].seconds;
    sample.operators[i].bytes -= before.operators[i].bytes;
  }
  peak_kv_bytes_ = std::max(peak_kv_bytes_, after.kv_bytes);
  for (Session* session : sessions) session->truncate(test.depth);
  return sample;
}

}  // namespace sluice
