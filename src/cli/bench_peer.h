// Another engine's benchmark beside ours: any command that prints the JSON of `llama-bench -o json`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench_measure.h"

namespace sluice {

struct PeerTest {
  BenchTest test;
  int64_t n_threads = 0;      // 0: it did not say
  std::vector<double> tok_s;  // of its repetitions
};

struct PeerRun {
  std::vector<PeerTest> tests;
  std::vector<std::string> left_out;  // tests of kinds that we have not, by name
};

// An array of objects with n_prompt, n_gen, n_depth (absent: 0), n_threads, and samples_ts, samples_ns or
// avg_ts; lines before it are skipped. Error(kInvalid) on anything else.
PeerRun parse_peer(std::string_view text);

// Runs the command. Error(kInvalid) if it fails or prints something else, with its exit status and the end of
// its standard error.
PeerRun run_peer(const std::string& command);

// One test of both, round by round.
struct PairedRound {
  bool peer_first = false;
  double ours = 0, peer = 0;  // tok/s
};
struct Comparison {
  BenchTest test;
  std::vector<PairedRound> rounds;

  Spread ours() const;
  Spread peer() const;
  Spread ratio() const;  // ours / peer, paired
};

}  // namespace sluice
