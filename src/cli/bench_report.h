// What bench found, for people and for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/bench_limit.h"
#include "cli/bench_measure.h"
#include "cli/bench_peer.h"
#include "sluice/engine.h"

namespace sluice {

struct BenchReport {
  ModelInfo info;
  EngineStats stats;  // after the last test
  double open_s = 0, first_token_s = 0;
  uint64_t peak_kv_bytes = 0;
  uint64_t weight_room = 0;  // bytes of weights that the budget holds
  bool f32_activations = false;
  bool profile = false;  // wanted
  Peaks peaks;
  std::vector<Measured> tests;
  std::vector<Measured> batches;
  std::vector<Spread> batch_ratios;  // of each batch to a batch of 1, paired
  std::string peer_command;          // empty: no peer
  std::vector<Comparison> comparisons;
  std::vector<std::string> left_out;  // tests of the peer that were not compared

  // What the process should stay below with everything in memory: files, KV cache and 150 MB.
  uint64_t resident_bound() const { return info.file_bytes + peak_kv_bytes + 150'000'000; }
};

std::string bench_text(const BenchReport& report);
nlohmann::ordered_json bench_json(const BenchReport& report);

}  // namespace sluice
