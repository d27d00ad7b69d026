// sluice bench from outside: what its JSON says, and how it deals with a peer.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/program.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using Json = nlohmann::json;
using test::demo;
using test::expect_refused;
using test::Outcome;
using test::Scratch;
using test::sluice;

Json bench(std::vector<std::string> flags) {
  std::vector<std::string> arguments = {"bench", demo(), "--ram", "256M", "--json"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome outcome = sluice(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.code == 0 ? Json::parse(outcome.out) : Json();
}

void expect_spread(const Json& spread, size_t n) {
  EXPECT_GT(double(spread["min"]), 0) << spread;
  EXPECT_LE(double(spread["min"]), double(spread["median"])) << spread;
  EXPECT_LE(double(spread["median"]), double(spread["max"])) << spread;
  EXPECT_EQ(spread["n"], n) << spread;
}

TEST(Bench, ReportsWhatItMeasured) {
  SLUICE_REQUIRE_SHARED();
  const Json report = bench({"-p", "32", "-n", "8", "-r", "2", "--weights", "30%"});
  ASSERT_TRUE(report.is_object());
  for (const char* key : {"open_s", "load_s", "first_token_s"})
    EXPECT_GT(double(report["start"][key]), 0) << key;
  const Json& memory = report["memory"];
  EXPECT_EQ(uint64_t(memory["resident_bound_bytes"]),
            uint64_t(memory["file_bytes"]) + uint64_t(memory["kv_bytes"]) + 150'000'000);
  EXPECT_LE(uint64_t(memory["peak_rss_bytes"]), uint64_t(memory["budget_bytes"]));
  EXPECT_GT(uint64_t(memory["kv_bytes"]), 0U);

  const Json& peaks = report["peaks"];
  double best = 0;
  for (const Json& read : peaks["reads"]) best = std::max(best, double(read["bytes_s"]));
  EXPECT_EQ(double(peaks["memory_bytes_s"]), best);
  EXPECT_EQ(peaks["reads"][0]["huge_pages"], false);
  EXPECT_EQ(peaks["reads"][0]["threads"], 1);
  EXPECT_GT(best, 1e8);
  EXPECT_GT(double(peaks["int8_operations_s"]), 1e8);
  EXPECT_GT(double(peaks["f32_operations_s"]), 1e7);
  EXPECT_TRUE(peaks["bf16_operations_s"].is_null() || double(peaks["bf16_operations_s"]) > 1e8);

  ASSERT_EQ(report["tests"].size(), 2U);
  const Json& prefill = report["tests"][0];
  const Json& decode = report["tests"][1];
  EXPECT_EQ(prefill["kind"], "prefill");
  EXPECT_EQ(prefill["tokens"], 32);
  EXPECT_EQ(prefill["depth"], 0);
  EXPECT_EQ(decode["kind"], "decode");
  EXPECT_EQ(decode["tokens"], 8);
  EXPECT_EQ(decode["depth"], 32);
  for (const Json& one : report["tests"]) {
    expect_spread(one["tok_s"], 2);
    EXPECT_GT(double(one["limit"]["fraction"]), 0);
  }
  EXPECT_NEAR(double(prefill["operations_s"]), double(prefill["operations"]) / double(prefill["seconds"]),
              1e-6 * double(prefill["operations_s"]));
  // A step reads the keys and values of 33 to 40 positions.
  EXPECT_EQ(double(decode["bytes"]["kv"]), 36.5 * 6 * 2 * 64 * 2);
  EXPECT_EQ(double(decode["experts_per_layer"]), 4);
  EXPECT_GT(double(decode["bytes"]["ssd_counted"]), 0);
  // No eviction can read less than the best possible one.
  EXPECT_LE(double(decode["bytes"]["ssd_forced_by_budget"]), double(decode["bytes"]["ssd_counted"]));
  EXPECT_EQ(double(decode["speculation"]["experts_per_step"]), 0);
  EXPECT_FALSE(report.contains("batches"));
  EXPECT_FALSE(report.contains("peer"));
}

TEST(Bench, CountsExpertsComputedAhead) {
  SLUICE_REQUIRE_SHARED();
  const Json report = bench({"-p", "16", "-n", "8", "-r", "1", "--speculate-experts", "2"});
  const Json& counts = report["tests"][1]["speculation"];
  // Two in each of six layers.
  EXPECT_EQ(double(counts["experts_per_step"]), 12);
  EXPECT_LE(double(counts["confirmed_per_step"]), 12);
  EXPECT_EQ(double(counts["wasted_bytes_per_step"]) > 0, double(counts["confirmed_per_step"]) < 12);
  EXPECT_EQ(double(report["tests"][0]["speculation"]["experts_per_step"]), 0);
}

TEST(Bench, ContextsAreFilledAndCutBack) {
  SLUICE_REQUIRE_SHARED();
  const Json report = bench({"-p", "16", "-n", "4", "-r", "1", "--contexts", "640,0,100"});
  ASSERT_EQ(report["tests"].size(), 6U);
  const int64_t depths[] = {0, 0, 100, 100, 640, 640};
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(report["tests"][i]["kind"], i % 2 == 0 ? "prefill" : "decode");
    EXPECT_EQ(report["tests"][i]["depth"], depths[i]);
    expect_spread(report["tests"][i]["tok_s"], 1);
  }
  EXPECT_EQ(double(report["tests"][5]["bytes"]["kv"]), 642.5 * 6 * 2 * 64 * 2);
  // The deepest test holds 656 tokens, that is 11 blocks of 64.
  EXPECT_EQ(uint64_t(report["memory"]["kv_bytes"]), 11U * 64 * 6 * 2 * 64 * 2);
  expect_refused({"bench", demo(), "--contexts", "640", "--ctx", "512"}, 1, "--ctx");
  expect_refused({"bench", demo(), "--contexts", "many"}, 2, "--contexts");
}

TEST(Bench, BatchesShareExperts) {
  SLUICE_REQUIRE_SHARED();
  const Json report = bench({"-p", "16", "-n", "8", "-r", "2", "--batch", "8,3"});
  const Json& batches = report["batches"];
  ASSERT_EQ(batches.size(), 3U);
  const int64_t sizes[] = {1, 3, 8};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(batches[i]["sequences"], sizes[i]);
    EXPECT_EQ(batches[i]["depth"], 16);
    expect_spread(batches[i]["tok_s"], 2);
    expect_spread(batches[i]["ratio_to_one"], 2);
  }
  EXPECT_EQ(double(batches[0]["ratio_to_one"]["median"]), 1);
  EXPECT_EQ(double(batches[0]["experts_per_layer"]), 4);
  const double three = batches[1]["experts_per_layer"], eight = batches[2]["experts_per_layer"];
  EXPECT_GT(three, 4);  // the sequences differ
  EXPECT_LE(three, 12);
  EXPECT_GT(eight, three);
  EXPECT_LE(eight, 32);
  // Dense weights are read once for all, experts once for each that is touched, keys for every sequence.
  const double per_expert =
      (double(batches[1]["bytes"]["weights"]) - double(batches[0]["bytes"]["weights"])) / (three - 4);
  EXPECT_NEAR(double(batches[2]["bytes"]["weights"]) - double(batches[0]["bytes"]["weights"]),
              per_expert * (eight - 4), 1);
  EXPECT_EQ(double(batches[2]["bytes"]["kv"]), 8 * double(batches[0]["bytes"]["kv"]));
  expect_refused({"bench", demo(), "--batch", "0"}, 2, "--batch");
}

// A peer that gets faster by 100 tok/s a run and writes down how many ticks of CPU its caller has used.
std::string fake_peer(const Scratch& scratch) {
  return scratch.write("peer.sh", R"sh(cd "$(dirname "$0")"
cut -d' ' -f14,15 /proc/$PPID/stat >>ticks
n=$(($(wc -l <ticks) * 100))
echo "some words first"
cat <<END
[{"n_prompt": 256, "n_gen": 0, "n_threads": 2, "samples_ts": [$((n - 50)), $((n + 50)), $n], "avg_ts": 1},
 {"n_prompt": 0, "n_gen": 32, "n_depth": 0, "n_threads": 2, "avg_ts": $n, "samples_ns": []},
 {"n_prompt": 0, "n_gen": 16, "n_depth": 64, "n_threads": 2, "samples_ns": [$((16000000000 / n))]},
 {"n_prompt": 16, "n_gen": 16, "n_threads": 2, "avg_ts": 7}]
END
)sh");
}

TEST(Bench, APeerIsComparedInTurns) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  // Without a fork in between, so that our process is the parent of the script.
  const std::string command = "exec sh " + fake_peer(scratch);
  const Json report = bench({"-r", "4", "-t", "2", "--peer", command});
  const Json& peer = report["peer"];
  EXPECT_EQ(peer["command"], command);
  EXPECT_EQ(peer["not_compared"], Json({"prefill 16 with decode 16"}));
  ASSERT_EQ(peer["tests"].size(), 3U);
  EXPECT_EQ(report["tests"].size(), 3U);
  EXPECT_EQ(report["tests"][0]["tok_s"]["n"], 12);  // three repetitions a round, as the peer's
  const Json& deep = peer["tests"][2];
  EXPECT_EQ(deep["kind"], "decode");
  EXPECT_EQ(deep["tokens"], 16);
  EXPECT_EQ(deep["depth"], 64);
  for (const Json& test : peer["tests"]) {
    std::vector<double> ratios;
    ASSERT_EQ(test["rounds"].size(), 4U);
    for (size_t i = 0; i < 4; ++i) {
      const Json& round = test["rounds"][i];
      EXPECT_EQ(round["first"], i % 2 == 0 ? "sluice" : "peer");
      EXPECT_NEAR(double(round["peer_tok_s"]), 100 * (static_cast<double>(i) + 2),
                  1e-3);  // the first warms up
      ratios.push_back(double(round["sluice_tok_s"]) / double(round["peer_tok_s"]));
    }
    std::sort(ratios.begin(), ratios.end());
    expect_spread(test["ratio"], 4);
    EXPECT_NEAR(double(test["ratio"]["median"]), (ratios[1] + ratios[2]) / 2, 1e-9);
    EXPECT_NEAR(double(test["ratio"]["min"]), ratios[0], 1e-9);
    EXPECT_NEAR(double(test["ratio"]["max"]), ratios[3], 1e-9);
  }
  // Runs of the peer that follow each other see a caller that slept in between; the others one that worked.
  std::istringstream lines(test::read_file(scratch / "ticks"));
  std::vector<int64_t> ticks;
  for (int64_t user = 0, system = 0; lines >> user >> system;) ticks.push_back(user + system);
  ASSERT_EQ(ticks.size(), 5U);
  EXPECT_GT(ticks[1] - ticks[0], 3);  // warm-up and round 1 of ours
  EXPECT_LE(ticks[2] - ticks[1], 3);  // round 2 begins with the peer
  EXPECT_GT(ticks[3] - ticks[2], 3);  // rounds 2 and 3 of ours
  EXPECT_LE(ticks[4] - ticks[3], 3);
}

TEST(Bench, FlagsPickFromThePeersTests) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string command = "sh " + fake_peer(scratch);
  const Json report = bench({"-r", "1", "-n", "16", "-t", "2", "--contexts", "64", "--peer", command});
  ASSERT_EQ(report["peer"]["tests"].size(), 1U);
  EXPECT_EQ(report["peer"]["tests"][0]["depth"], 64);
  EXPECT_EQ(report["peer"]["not_compared"], Json({"prefill 16 with decode 16", "prefill 256", "decode 32"}));
  expect_refused({"bench", demo(), "-p", "7", "-n", "7", "--peer", command}, 1,
                 "prefill 256, decode 32, decode 16 at 64");
  const Outcome other = sluice({"bench", demo(), "--ram", "256M", "-r", "1", "-t", "1", "-n", "16", "-p",
                                "256", "--contexts", "64", "--peer", command});
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_NE(other.err.find("the peer runs 2 threads, sluice 1"), std::string::npos) << other.err;
}

TEST(Bench, APeerThatFailsIsToldOfInOneLine) {
  SLUICE_REQUIRE_SHARED();
  const auto refused = [](const std::string& command, const std::string& word) {
    expect_refused({"bench", demo(), "--peer", command}, 1, word);
  };
  refused("echo many words >&2; echo model not found >&2; exit 3", "exit status 3");
  refused("echo many words >&2; echo model not found >&2; exit 3", "many words model not found");
  refused("kill -9 $$", "exit status 137");
  refused("/no/such/llama-bench -o json", "exit status 127");
  refused("echo '| model | t/s |'", "llama-bench -o json");
  refused("echo '[]'", "llama-bench -o json");
  refused("echo '{\"n_prompt\": 4}'", "llama-bench -o json");
  refused("echo '[3]'", "no object");
  refused("echo '[{\"n_prompt\": 4}]'", "samples_ts");
  refused("echo '[{\"n_prompt\": -4, \"avg_ts\": 1}]'", "n_prompt");
  refused("echo '[{\"n_prompt\": 4, \"avg_ts\": \"fast\"}]'", "avg_ts");
  refused("echo '[{\"n_prompt\": 4, \"n_gen\": 4, \"avg_ts\": 1}]'", "nothing that can be compared");
  expect_refused({"bench", "/no/such/model", "--peer", "exit 9"}, 1, "/no/such/model");
}

TEST(Bench, TheTextIsATableOfWhatWasMeasured) {
  SLUICE_REQUIRE_SHARED();
  const Outcome outcome =
      sluice({"bench", demo(), "--ram", "256M", "-p", "16", "-n", "4", "-r", "1", "--batch", "2", "-t", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words : {"first token after", "reads, 4 KiB pages", "int8 products", "  prefill 16 ",
                            "  decode 4 at 16 ", "of 32 experts", "2 threads"})
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << "\n" << outcome.out;
  EXPECT_EQ(outcome.out.find("SSD"), std::string::npos) << outcome.out;  // nothing was read from it
  EXPECT_EQ(outcome.out.find("peer"), std::string::npos);
  const std::string help = sluice({"bench", "--help"}).out;
  for (const char* words : {"--contexts", "--batch", "--peer", "weights stay in memory"})
    EXPECT_NE(help.find(words), std::string::npos) << words;
}

}  // namespace
}  // namespace sluice
