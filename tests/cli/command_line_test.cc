// The built binary from outside: forms that scripts rely on, exit codes, one-line errors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/program.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using Json = nlohmann::json;
using test::demo;
using test::exit_code;
using test::expect_refused;
using test::Outcome;
using test::Scratch;
using test::sluice;
using test::start;
using test::stories;
using test::stories_hf;
namespace fs = std::filesystem;

// What a command printed as JSON, and what it said beside it.
std::pair<Json, std::string> report_of(std::vector<std::string> arguments,
                                       const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = sluice(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return {Json::parse(outcome.out), outcome.err};
}

Json stories_golden() {
  return Json::parse(test::read_file(test::shared_path("data/derived/stories260K/golden.json")));
}

TEST(CommandLine, HelpTeachesAndVersionsTell) {
  const Outcome help = sluice({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* verb :
       {"run", "chat", "demo", "inspect", "tokenize", "detokenize", "template", "logits", "perplexity",
        "bench", "trace", "simulate", "profile", "plan", "browse", "doctor", "version"}) {
    EXPECT_NE(help.out.find(std::string("  ") + verb + " "), std::string::npos) << verb;
    const Outcome own = sluice({verb, "--help"});
    EXPECT_EQ(own.code, 0) << verb;
    EXPECT_EQ(own.out, sluice({"help", verb}).out);
    if (std::string(verb) != "version") {
      EXPECT_NE(own.out.find("examples:"), std::string::npos) << verb;
    }
  }
  EXPECT_EQ(Json::parse(sluice({"version", "--json"}).out)["version"], "0.1.0");
}

TEST(CommandLine, UsageErrorsExitWithTwoAndSuggest) {
  EXPECT_EQ(sluice({}).code, 2);
  expect_refused({"rnu"}, 2, "did you mean run?");
  expect_refused({"run", "demo", "hi", "--topk", "3"}, 2, "did you mean --top-k?");
  expect_refused({"run", "demo", "hi", "--sed", "3"}, 2, "did you mean --seed?");
  expect_refused({"run", "demo", "one", "two"}, 2, "quote");
  expect_refused({"run", "demo", "hi", "--ram", "lots"}, 2, "--ram");
  expect_refused({"run", "demo", "hi", "--ram", "-5"}, 2, "--ram");
  expect_refused({"run", "demo", "hi", "--weights", "0%"}, 2, "--weights");
  expect_refused({"run", "demo", "hi", "--kv", "f8"}, 2, "not in {bf16,f16,f32,int8}");
  expect_refused({"run", "demo", "hi", "--temp", "hot"}, 2, "--temp");
  expect_refused({"run", "demo", "hi", "-n", "1x"}, 2, "--max-tokens");
  expect_refused({"run", "demo", "hi", "--top-p", "2"}, 2, "--top-p");
  expect_refused({"logits", "demo", "--ids", "x"}, 2, "--out");
}

TEST(CommandLine, TheWorldsErrorsExitWithOne) {
  const Scratch scratch;
  expect_refused({"run", "/no/such/model", "hi"}, 1, "/no/such/model");
  expect_refused({"run", scratch.write("text.gguf", "not a model"), "hi"}, 1, "text.gguf");
  expect_refused({"inspect", scratch.write("empty.gguf", "")}, 1, "empty.gguf");
  expect_refused({"tokenize", scratch.write("tokenizer.json", "{]"), "--text", "x"}, 1, "tokenizer.json");
  expect_refused({"template", "--template", scratch.write("t.jinja", "{% if %}"), "--context",
                  scratch.write("c.json", "{}")},
                 1, "t.jinja");
}

TEST(CommandLine, GreedyTextIsTheGoldensText) {
  SLUICE_REQUIRE_SHARED();
  const Json golden = stories_golden();
  const std::string text = golden["greedy_text"];
  const Outcome outcome = sluice(
      {"run", stories(), "", "--raw", "--temp", "0", "-n", "64", "--kv", "f32", "--activations", "f32"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  ASSERT_GT(outcome.out.size(), 100U);
  EXPECT_EQ(outcome.out.substr(0, outcome.out.size() - 1), text.substr(0, outcome.out.size() - 1));
  EXPECT_EQ(outcome.err, "");  // no statistics where it is not a terminal
}

TEST(CommandLine, RunJsonHasEveryKeyThatScriptsRelyOn) {
  SLUICE_REQUIRE_SHARED();
  const Outcome outcome = sluice({"run", demo(), "Once upon a time, there was a little", "--temp", "0", "-n",
                                  "12", "--weights", "40%", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  const Json expected = Json::parse(test::read_file(demo() + "/expected.json"));
  EXPECT_EQ(report["text"],
            std::string(expected["greedy_text"]).substr(0, std::string(report["text"]).size()));
  const std::vector<int> ids = expected["greedy_ids"];
  EXPECT_EQ(report["token_ids"], std::vector<int>(ids.begin(), ids.begin() + 12));
  EXPECT_EQ(report["prompt_tokens"], 10);
  EXPECT_EQ(report["completion_tokens"], 12);
  EXPECT_EQ(report["finish_reason"], "length");
  for (const char* key : {"load_s", "first_token_ms", "prefill_tok_s", "decode_tok_s"})
    EXPECT_GT(double(report["timings"][key]), 0) << key;
  for (const char* key : {"budget_bytes", "peak_rss_bytes", "pinned_bytes", "cache_bytes", "kv_bytes"})
    EXPECT_GT(int64_t(report["memory"][key]), 0) << key;
  EXPECT_GT(int64_t(report["io"]["bytes_read"]), 0);
  EXPECT_GT(int64_t(report["io"]["reads"]), 0);
  EXPECT_TRUE(report["io"]["stall_s"].is_number());
  EXPECT_GT(int64_t(report["cache"]["misses"]), 0);
  EXPECT_GT(double(report["cache"]["hit_rate"]), 0);
  EXPECT_TRUE(report["cache"]["hits"].is_number_integer());
  EXPECT_EQ(report["exact"], true);
}

// 100 %: measured, and never exceeded.
TEST(CommandLine, RunTellsWhatReadsCostTheArithmetic) {
  const auto run = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "run",       "demo", "Once upon a time", "--temp", "0",          "-n",    "400",
        "--weights", "60%",  "--ignore-eos",     "--json", "--prefetch", "linear"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = sluice(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json off = run({});
  EXPECT_FALSE(off["io"].contains("pace"));
  const Json on = run({"--max-slowdown", "100%"});
  EXPECT_EQ(on["token_ids"], off["token_ids"]);
  const Json& pace = on["io"]["pace"];
  EXPECT_EQ(pace["max_slowdown"], 1.0);
  EXPECT_GT(double(pace["measured_s"]), 0);
  EXPECT_EQ(pace["limited_windows"], 0);
  EXPECT_GE(double(pace["lost"]), double(pace["slowdown"]));
  for (const char* wrong : {"5", "0%", "101%", "x"})
    expect_refused({"run", "demo", "x", "--max-slowdown", wrong}, 1, "--max-slowdown");
}

TEST(CommandLine, ATimelineShowsComputingWaitingAndReading) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string file = scratch / "t.json";
  const Outcome outcome =
      sluice({"run", demo(), "Once upon a time", "-n", "8", "--weights", "30%", "--timeline", file});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::set<std::string> names;
  const Json timeline = Json::parse(test::read_file(file));
  for (const Json& event : timeline["traceEvents"]) names.insert(event["name"]);
  for (const char* name : {"attention", "gate, up", "head", "waits", "demanded"})
    EXPECT_TRUE(names.count(name)) << name;
  expect_refused({"run", demo(), "x", "-n", "1", "--timeline", "/no/such/directory/t.json"}, 1, "/no/such");
}

TEST(CommandLine, AMonitorNeedsATerminal) {
  expect_refused({"run", "demo", "hi", "--monitor"}, 1, "--stats tells the numbers anywhere");
  expect_refused({"chat", "demo", "--monitor"}, 1, "--stats tells the numbers anywhere");
  expect_refused({"run", "demo", "hi", "--monitor", "--json"}, 2, "excludes");
  const Outcome chat = sluice({"chat", "demo", "-n", "4", "--ignore-eos", "--stats"}, "Once\nupon\n");
  EXPECT_EQ(chat.code, 0);
  EXPECT_EQ(std::count(chat.err.begin(), chat.err.end(), '\n'), 2) << chat.err;
  EXPECT_NE(chat.err.find("4 tokens, "), std::string::npos) << chat.err;
}

TEST(CommandLine, ADemoShowsWhatAChangeOfTopicCosts) {
  const Outcome list = sluice({"demo"});
  EXPECT_EQ(list.code, 0);
  EXPECT_EQ(list.out.rfind("sluice demo warmup ", 0), 0U) << list.out;
  expect_refused({"demo", "warmdown"}, 2, "warmup");
  expect_refused({"demo", "warmup", "-n", "2000"}, 1, "context of 512");

  const Outcome table = sluice({"demo", "warmup", "-n", "64"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_EQ(table.out.find('\x1b'), std::string::npos);
  const Json report = Json::parse(sluice({"demo", "warmup", "-n", "64", "--json"}).out);
  EXPECT_LT(report["experts_in_memory"], report["experts"]);
  ASSERT_EQ(report["topics"].size(), 3U);
  for (const Json& topic : report["topics"]) {
    EXPECT_NE(table.out.find("\n" + topic["topic"].get<std::string>() + " "), std::string::npos) << table.out;
    EXPECT_EQ(topic["tokens"], 64);
    ASSERT_EQ(topic["hits_of_tokens"].size(), 64U);
    uint64_t hits = 0, misses = 0, first_hits = 0, first = 0;
    for (size_t i = 0; i < 64; ++i) {
      const uint64_t h = topic["hits_of_tokens"][i], m = topic["misses_of_tokens"][i];
      EXPECT_EQ(h + m, 6U * 4U);  // layers, experts of a token
      hits += h;
      misses += m;
      if (i < 16) first_hits += h, first += h + m;
    }
    EXPECT_EQ(topic["hits"], hits);
    EXPECT_EQ(topic["misses"], misses);
    EXPECT_DOUBLE_EQ(topic["hit_rate_first_16"],
                     static_cast<double>(first_hits) / static_cast<double>(first));
    EXPECT_GT(topic["bytes_read"], 0);
    EXPECT_NE(table.out.find(std::to_string(misses)), std::string::npos) << table.out;
  }
  EXPECT_EQ(report["topics"][0]["misses_of_tokens"][0], 24);  // the cache was empty
  EXPECT_EQ(
      report["topics"][0]["evictions"].get<uint64_t>() + report["topics"][1]["evictions"].get<uint64_t>() +
          report["topics"][2]["evictions"].get<uint64_t>() + report["experts_in_memory"].get<uint64_t>(),
      report["topics"][0]["misses"].get<uint64_t>() + report["topics"][1]["misses"].get<uint64_t>() +
          report["topics"][2]["misses"].get<uint64_t>());
}

TEST(CommandLine, LossyRoutingSaysSoAndCostsWhatIsAllowed) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::vector<std::string> begin = {"run", demo(), "Once upon a time", "-n", "12", "--json"};
  const auto report = [&](const std::vector<std::string>& more) { return report_of(begin, more); };
  for (const std::vector<std::string>& lossy :
       {std::vector<std::string>{"--lossy", "topk:0.9"},
        std::vector<std::string>{"--lossy", "skip", "--weights", "20%"}}) {
    const Json run = report(lossy).first;
    EXPECT_EQ(run["exact"], false);
    EXPECT_GT(int64_t(run["lossy"]["dropped_experts"]), 0);
  }
  EXPECT_EQ(report({"--lossy", "bias:0.5", "--weights", "20%"}).first["exact"], false);

  std::string text;
  for (int i = 0; i < 40; ++i) text += "Once upon a time there was a little girl named Lily. ";
  const std::string file = scratch.write("text", text);
  const auto [generous, said] = report({"--max-loss", "50%", "--loss-text", file});
  EXPECT_EQ(generous["exact"], false);
  EXPECT_NE(said.find("--lossy topk:"), std::string::npos) << said;
  // 24 experts a token, of the prompt and the answer alone: what was measured before does not count.
  EXPECT_LT(int64_t(generous["lossy"]["dropped_experts"]), 24 * (int64_t(generous["prompt_tokens"]) + 12));

  expect_refused({"run", demo(), "x", "--lossy", "topk:2"}, 1, "topk:T");
  expect_refused({"run", demo(), "x", "--max-loss", "1"}, 1, "1%");
  expect_refused({"run", demo(), "x", "--max-loss", "1%"}, 1, "--loss-text");
}

TEST(CommandLine, ExpertsComputedAheadAreCountedAndChangeNothing) {
  SLUICE_REQUIRE_SHARED();
  const auto report = [&](const char* n) {
    const Outcome outcome = sluice({"run", demo(), "Once upon a time", "-n", "12", "--temp", "0",
                                    "--prefetch", "router", "--speculate-experts", n, "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json without = report("0"), with = report("4");
  EXPECT_EQ(without["token_ids"], with["token_ids"]);
  EXPECT_EQ(without["cache"], with["cache"]);
  EXPECT_EQ(without["speculation"]["experts"], 0);
  const Json& counts = with["speculation"];
  EXPECT_GT(int64_t(counts["confirmed"]), 0);
  EXPECT_GT(int64_t(counts["discarded"]), 0);
  EXPECT_EQ(int64_t(counts["confirmed"]) + int64_t(counts["discarded"]), int64_t(counts["experts"]));
  EXPECT_GT(int64_t(counts["wasted_bytes"]), 0);
  const Outcome line = sluice({"run", demo(), "x", "-n", "8", "--stats", "--speculate-experts", "2"});
  EXPECT_NE(line.err.find("experts computed ahead"), std::string::npos) << line.err;
  for (const char* n : {"-1", "257", "many", "1.5"})
    expect_refused({"run", demo(), "x", "--speculate-experts", n}, 2, "--speculate-experts");
}

TEST(CommandLine, HalfExpertsSayTheSame) {
  SLUICE_REQUIRE_SHARED();
  const auto report = [&](const char* parts) {
    const Outcome outcome = sluice({"run", demo(), "Once upon a time", "-n", "12", "--temp", "0", "--weights",
                                    "40%", "--prefetch", "off", "--expert-split", parts, "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json whole = report("1"), halves = report("2");
  EXPECT_EQ(whole["token_ids"], halves["token_ids"]);
  const auto accesses = [](const Json& run) {
    return int64_t(run["cache"]["hits"]) + int64_t(run["cache"]["misses"]);
  };
  EXPECT_EQ(2 * accesses(whole), accesses(halves));
  for (const char* parts : {"0", "3", "half"})
    expect_refused({"run", demo(), "x", "--expert-split", parts}, 2, "--expert-split");
}

TEST(CommandLine, StandInsSaySoAndMustBeTheSameModel) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string small = scratch / "small";
  ASSERT_EQ(sluice({"compress", demo(), "--to", "affine2", "-o", small}).code, 0);
  const std::vector<std::string> begin = {"run",     demo(), "Once upon a time", "-n", "16", "--json",
                                          "--chunk", "1",    "--stand-in",       small};
  const auto report = [&](const std::vector<std::string>& more) { return report_of(begin, more); };
  const Json streamed = report({"--lossy", "stand-in", "--weights", "45%"}).first;
  EXPECT_EQ(streamed["exact"], false);
  EXPECT_GT(int64_t(streamed["lossy"]["stand_ins_used"]), 0);
  EXPECT_EQ(streamed["lossy"]["dropped_experts"], 0);
  // Everything is in memory: nothing is given up, and the text is the exact one.
  const Json whole = report({"--lossy", "stand-in:0.5"}).first;
  EXPECT_EQ(whole["lossy"]["stand_ins_used"], 0);
  EXPECT_EQ(whole["text"],
            Json::parse(sluice({"run", demo(), "Once upon a time", "-n", "16", "--json"}).out)["text"]);
  EXPECT_GT(int64_t(report({"--lossy", "stand-in-all:0.5"}).first["lossy"]["stand_ins_used"]), 0);

  std::string text;
  for (int i = 0; i < 40; ++i) text += "Once upon a time there was a little girl named Lily. ";
  const std::string file = scratch.write("text", text);
  const auto [generous, said] = report({"--max-loss", "90%", "--loss-text", file});
  EXPECT_EQ(generous["exact"], false);
  EXPECT_NE(said.find("--lossy stand-in:"), std::string::npos) << said;
  EXPECT_NE(said.find("if no expert is in memory"), std::string::npos) << said;
  const Outcome cost = sluice({"perplexity", demo(), "--file", file, "--ctx", "64", "--json", "--stand-in",
                               small, "--lossy", "stand-in-all:0.8"});
  ASSERT_EQ(cost.code, 0) << cost.err;
  EXPECT_EQ(Json::parse(cost.out)["exact"], false);
  EXPECT_GT(int64_t(Json::parse(cost.out)["stand_ins_used"]), 0);

  expect_refused({"run", demo(), "x", "--lossy", "stand-in"}, 1, "--stand-in PATH");
  expect_refused({"run", demo(), "x", "--lossy", "stand-in:2"}, 1, "stand-in:T");
  expect_refused({"run", demo(), "x", "--stand-in", small}, 1, "--lossy stand-in");
  expect_refused({"run", demo(), "x", "--stand-in", scratch / "none", "--lossy", "stand-in"}, 1, "none");
  expect_refused({"run", demo(), "x", "--stand-in", stories(), "--lossy", "stand-in"}, 1, "layers");
  expect_refused({"run", demo(), "x", "--stand-in", small, "--lossy", "stand-in", "--lossy", "skip"}, 1,
                 "choose");
  expect_refused({"run", demo(), "x", "--stand-in", small, "--lossy", "stand-in", "--weights", "20%"}, 1,
                 "for --stand-in");
  expect_refused({"run", demo(), "x", "--stand-in", small, "--lossy", "stand-in", "--ram", "22M"}, 1,
                 "for --stand-in");
}

TEST(CommandLine, RecordedRoutingIsReplayed) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string trace = scratch / "a.trace", svg = scratch / "a.svg";
  const std::string text = scratch.write("text", "There was a king who had three sons. ");
  const Outcome recorded = sluice(
      {"trace", demo(), "Once upon a time, there was a little", "--file", text, "-n", "21", "-o", trace});
  ASSERT_EQ(recorded.code, 0) << recorded.err;
  EXPECT_NE(recorded.out.find("6 layers of 32 experts, 4 a token"), std::string::npos) << recorded.out;
  const Outcome outcome = sluice({"simulate", trace, "--budgets", "25%,75%", "--json", "--svg", svg, "--ssd",
                                  "1G/s", "--token-ms", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_GT(report["tokens"], 10 + 20);
  EXPECT_EQ(report["tokens"], report["passes"]);  // one by one
  EXPECT_EQ(report["budgets"][0]["slots"], 48);
  EXPECT_EQ(report["policies"].size(), 14U);
  for (const Json& policy : report["policies"]) {
    for (const size_t i : {0U, 1U}) {
      const Json& point = policy["points"][i];
      EXPECT_GE(point["misses"], report["best_possible"][i]["misses"]) << policy["policy"];
      EXPECT_EQ(double(point["hits"]) + double(point["misses"]), 24 * double(report["tokens"]));
      EXPECT_GT(point["predicted_tok_s"], 0);
      EXPECT_LE(point["predicted_tok_s"], 500.5);
    }
    EXPECT_GT(policy["points"][1]["hit_rate"], policy["points"][0]["hit_rate"]);
  }
  EXPECT_EQ(test::read_file(svg).rfind("<svg", 0), 0U);
  const Outcome table = sluice({"simulate", trace, "--policy", "lru,forward", "--split", "shared"});
  EXPECT_NE(table.out.find("90%: 172 slots"), std::string::npos) << table.out;
  EXPECT_EQ(table.out.find("measured"), std::string::npos) << table.out;
  expect_refused({"simulate", trace, "--policy", "fifo"}, 1, "choose forward, lru, clock");
  expect_refused({"simulate", trace, "--budgets", "1"}, 1, "no room for one expert");
  expect_refused({"simulate", trace, "--ram", "1M"}, 1, "--ram 1M");
  expect_refused({"simulate", text}, 1, "no routing trace");
  expect_refused({"trace", stories(), "x", "-o", trace}, 1, "no experts");
  expect_refused({"run", demo(), "x", "--cache-policy", "fifo"}, 2, "least-stale");
}

TEST(CommandLine, RunsFromIdsWithoutATokenizer) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const Json golden = stories_golden();
  const std::vector<int> ids = golden["greedy_ids"];
  const Outcome outcome = sluice(
      {"run", stories_hf(), "--ids", scratch.write("ids.json", "[1]"), "--temp", "0", "-n", "40", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["token_ids"], std::vector<int>(ids.begin() + 1, ids.begin() + 41));
  expect_refused({"run", stories_hf(), "words"}, 1, "--ids");
  expect_refused({"run", stories_hf(), "--ids", scratch.write("bad.json", "[1, \"x\"]")}, 1, "token id");
  expect_refused({"run", stories_hf(), "--ids", scratch.write("big.json", "[512]")}, 1, "vocabulary");
}

TEST(CommandLine, ThePromptComesFromStandardInput) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<std::string> tail = {"--temp", "0", "-n", "8"};
  std::vector<std::string> arguments = {"run", stories()};
  arguments.insert(arguments.end(), tail.begin(), tail.end());
  const Outcome piped = sluice(arguments, "Once upon a time\n");
  arguments.insert(arguments.begin() + 2, "Once upon a time");
  EXPECT_EQ(piped.out, sluice(arguments).out);
}

TEST(CommandLine, TheSameSeedGivesTheSameTextAndOtherSeedsOthers) {
  SLUICE_REQUIRE_SHARED();
  const auto text = [](const std::string& seed, const std::string& threads) {
    return sluice({"run", demo(), "Once", "-n", "24", "--seed", seed, "--threads", threads}).out;
  };
  EXPECT_EQ(text("3", "1"), text("3", "2"));
  EXPECT_NE(text("3", "1"), text("4", "1"));
}

TEST(CommandLine, SamplingFlagsHaveEffect) {
  SLUICE_REQUIRE_SHARED();
  const auto text = [](std::vector<std::string> flags) {
    std::vector<std::string> arguments = {"run", stories(), "Once upon a time", "-n", "24"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Outcome outcome = sluice(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string greedy = text({"--temp", "0"});
  EXPECT_EQ(text({"--temp", "5", "--top-k", "1"}), greedy);
  EXPECT_NE(text({"--temp", "0", "--repeat-penalty", "5", "--penalty-window", "-1"}), greedy);
  EXPECT_NE(text({"--temp", "0", "--logit-bias", "432:-inf"}), greedy);
  const std::string stopped = text({"--temp", "0", "--stop", "girl"});
  EXPECT_EQ(stopped, greedy.substr(0, greedy.find("girl")) + "\n");
}

TEST(CommandLine, ASmallBudgetIsRefusedAndTheNamedOneHolds) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<std::string> arguments = {"run",    demo(), "Once",   "-n",   "16",
                                              "--temp", "0",    "--json", "--ram"};
  const auto with = [&arguments](const std::string& ram) {
    std::vector<std::string> all = arguments;
    all.push_back(ram);
    return all;
  };
  const Outcome refused = sluice(with("5M"));
  EXPECT_EQ(refused.code, 1);
  const size_t at = refused.err.find("at least --ram ");
  ASSERT_NE(at, std::string::npos) << refused.err;
  const std::string named = refused.err.substr(at + 15, refused.err.find(' ', at + 15) - at - 15);
  const int mebibytes = std::stoi(named);
  const Outcome run = sluice(with(std::to_string(mebibytes) + "M"));
  ASSERT_EQ(run.code, 0) << run.err;
  const Json report = Json::parse(run.out);
  EXPECT_LE(int64_t(report["memory"]["peak_rss_bytes"]), int64_t{mebibytes} << 20);
  const Outcome roomy = sluice(with("1G"));
  EXPECT_EQ(Json::parse(roomy.out)["token_ids"], report["token_ids"]);
}

TEST(CommandLine, WhatDoesNotFitTheContextIsRefused) {
  SLUICE_REQUIRE_SHARED();
  expect_refused({"run", stories(), "Once upon a time", "-n", "600"}, 1, "--ctx");
  const Outcome longer = sluice({"run", stories(), "Once", "-n", "2", "--ctx", "1024", "--temp", "0"});
  EXPECT_EQ(longer.code, 0);
  EXPECT_NE(longer.err.find("trained for"), std::string::npos);
}

TEST(CommandLine, TokensGoThereAndBack) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const Json golden = stories_golden();
  for (const Json& one : golden["encode_cases"]) {
    const std::string text = one["text"];
    const Outcome outcome = sluice({"tokenize", stories(), "--text", text, "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(Json::parse(outcome.out), one["ids"]) << text;
  }
  const std::string story = "Once upon a time, there was a caf\u00e9.\n\nThe end.";
  const Outcome file = sluice({"tokenize", demo(), "--file", scratch.write("story", story), "--json"});
  EXPECT_EQ(sluice({"detokenize", demo(), "--ids", scratch.write("ids", file.out)}).out, story);
  EXPECT_EQ(sluice({"detokenize", demo()}, file.out).out, story);
  EXPECT_EQ(Json::parse(sluice({"tokenize", demo(), "--text", "a", "--bos", "--json"}).out)[0], 4093);
  expect_refused({"detokenize", demo(), "999999"}, 1, "vocabulary");
}

TEST(CommandLine, TemplatesRenderExactly) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string context = scratch.write(
      "context.json",
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "you"}]})");
  EXPECT_EQ(sluice({"template", demo(), "--context", context}).out, "<|endoftext|>Hi\nyou");
  const std::string source =
      scratch.write("t.jinja", "{{ strftime_now('%Y-%m-%d %H') }} {{ messages|length }}");
  const Outcome outcome =
      sluice({"template", "--template", source, "--context", context, "--now", "2025-07-10T12:00:00"});
  EXPECT_EQ(outcome.out, "2025-07-10 12 2");
}

TEST(CommandLine, LogitsAndRoutesAreTheGoldens) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string model = test::shared_path("data/derived/moe/tiny-qwen3-moe");
  const Json expected = Json::parse(test::read_file(model + "/expected.json"));
  const Outcome outcome = sluice(
      {"logits", model, "--ids", scratch.write("ids.json", expected["tokens"].dump()), "--out",
       scratch / "logits.f32", "--routes", scratch / "routes.json", "--kv", "f32", "--activations", "f32"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string bytes = test::read_file(scratch / "logits.f32");
  const size_t n_tokens = expected["tokens"].size();
  const size_t vocab = expected["logits"][0].size();
  ASSERT_EQ(bytes.size(), n_tokens * vocab * sizeof(float));
  std::vector<float> logits(n_tokens * vocab);
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t i = 0; i < vocab; ++i)
      ASSERT_NEAR(logits[t * vocab + i], double(expected["logits"][t][i]), 1e-3) << t << ", " << i;
  const Json routes = Json::parse(test::read_file(scratch / "routes.json"));
  EXPECT_EQ(routes[1], Json::array());  // a dense layer
  for (const size_t layer : {0, 2}) {
    ASSERT_EQ(routes[layer].size(), n_tokens);
    for (size_t t = 0; t < n_tokens; ++t)
      for (size_t k = 0; k < 3; ++k)
        EXPECT_EQ(routes[layer][t][k], expected["routes"][t][layer][k][0]) << layer << ", " << t;
  }
}

TEST(CommandLine, PerplexityFollowsBothProtocols) {
  SLUICE_REQUIRE_SHARED();
  const Outcome split =
      sluice({"perplexity", stories(), "--file", test::shared_path("data/text/tinystories-v2-2MiB.txt"),
              "--ctx", "512", "--split", "<|endoftext|>", "--skip", "1", "--max-docs", "40", "--json"});
  ASSERT_EQ(split.code, 0) << split.err;
  const Json report = Json::parse(split.out);
  const Json golden = stories_golden()["ppl"];
  EXPECT_EQ(report["tokens"], golden["tokens"]);
  EXPECT_NEAR(double(report["nll_per_token"]), double(golden["mean_nll"]), 5e-4);
  EXPECT_NEAR(double(report["perplexity"]), double(golden["ppl"]), 2e-3);

  const Outcome windows = sluice({"perplexity", demo(), "--file", demo() + "/eval/stories.valid.txt", "--ctx",
                                  "256", "--max-tokens", "8192", "--json"});
  ASSERT_EQ(windows.code, 0) << windows.err;
  EXPECT_EQ(Json::parse(windows.out)["tokens"], 7936);
  EXPECT_NEAR(double(Json::parse(windows.out)["nll_per_token"]), 2.638, 1e-3);

  const Outcome int8 = sluice({"perplexity", demo(), "--file", demo() + "/eval/stories.valid.txt", "--ctx",
                               "256", "--max-tokens", "8192", "--json", "--kv", "int8"});
  ASSERT_EQ(int8.code, 0) << int8.err;
  EXPECT_NE(int8.out, windows.out);
  EXPECT_NEAR(double(Json::parse(int8.out)["nll_per_token"]), 2.638, 2e-3);
}

TEST(CommandLine, InspectTellsWithoutReadingWeights) {
  SLUICE_REQUIRE_SHARED();
  const Outcome outcome = sluice({"inspect", demo(), "--json", "--tensors"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["architecture"], "qwen3_moe");
  EXPECT_EQ(report["experts"], 32);
  EXPECT_EQ(report["kv_bytes_per_token"], 6 * 2 * 64 * 2);
  const Outcome int8 = sluice({"inspect", demo(), "--json", "--kv", "int8"});
  EXPECT_EQ(Json::parse(int8.out)["kv_bytes_per_token"], 6 * 2 * (64 + 4));
  EXPECT_EQ(report["encodings"][0]["name"], "bf16");
  EXPECT_EQ(report["encodings"][0]["bits_per_weight"], 16.0);
  EXPECT_GT(report["tensors"].size(), 500U);
  EXPECT_LT(int64_t(report["minimum_ram_bytes"]), int64_t(report["resident_ram_bytes"]));
  for (const Json& budget : report["budgets"]) {
    if (!budget["fits"]) continue;
    const int64_t parts = int64_t(budget["weight_bytes"]) + int64_t(budget["kv_bytes"]) +
                          int64_t(budget["scratch_bytes"]) + int64_t(budget["process_bytes"]);
    EXPECT_LE(parts, int64_t(budget["ram_bytes"])) << budget["name"];
  }
  EXPECT_NE(sluice({"inspect", stories()}).out.find("llama"), std::string::npos);
}

TEST(CommandLine, ChatWithoutATerminalReadsLines) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string file = scratch / "talk.json";
  const Outcome outcome = sluice({"chat", demo(), "--temp", "0", "-n", "8", "--system", "Stories."},
                                 "Once upon\n/set temp 0.5\n/set nonsense 1\n/save " + file +
                                     "\n/stats\n/help\n/clear\n/load " + file + "\n/nothing\n/bye\nnever\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const Json talk = Json::parse(test::read_file(file));
  EXPECT_EQ(talk["system"], "Stories.");
  ASSERT_EQ(talk["messages"].size(), 2U);
  EXPECT_EQ(talk["messages"][0]["content"], "Once upon");
  EXPECT_EQ(outcome.out.rfind(std::string(talk["messages"][1]["content"]) + "\n", 0), 0U) << outcome.out;
  EXPECT_NE(outcome.out.find("tok/s"), std::string::npos);
  EXPECT_NE(outcome.out.find("/save NAME"), std::string::npos);
  EXPECT_NE(outcome.err.find("nonsense"), std::string::npos);
  EXPECT_NE(outcome.err.find("/nothing"), std::string::npos);
  EXPECT_EQ(outcome.out.find("\x1b"), std::string::npos);  // no escape sequences into files
}

TEST(CommandLine, ChatTakesMessagesOfSeveralLines) {
  SLUICE_REQUIRE_SHARED();
  const Scratch scratch;
  const std::string file = scratch / "talk.json";
  const Outcome outcome = sluice({"chat", demo(), "-n", "2"}, "\"\"\"one\ntwo\"\"\"\n/save " + file + "\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(test::read_file(file))["messages"][0]["content"], "one\ntwo");
}

// A run that would go on for long, and what it makes of signals and closed pipes.
class Endless {
 public:
  Endless() {
    int out[2];
    if (pipe(out) != 0) throw std::runtime_error("no pipe");
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    child_ =
        start({"run", demo(), "Once", "--ctx", "200000", "--ignore-eos", "--ram", "2G"}, null, out[1], null);
    close(out[1]);
    close(null);
    read_end_ = out[0];
    char byte = 0;
    if (read(read_end_, &byte, 1) != 1) throw std::runtime_error("no output");
  }
  ~Endless() {
    if (child_ > 0) kill(child_, SIGKILL);
    if (read_end_ >= 0) close(read_end_);
  }
  void interrupt() const { kill(child_, SIGINT); }
  void close_pipe() { close(std::exchange(read_end_, -1)); }
  int wait() {
    std::thread drain;
    if (read_end_ >= 0)
      drain = std::thread([fd = read_end_] {
        char buffer[4096];
        while (read(fd, buffer, sizeof buffer) > 0) continue;
      });
    const int code = exit_code(std::exchange(child_, -1));
    if (drain.joinable()) drain.join();
    return code;
  }

 private:
  pid_t child_ = -1;
  int read_end_ = -1;
};

TEST(CommandLine, AnInterruptStopsWith130) {
  SLUICE_REQUIRE_SHARED();
  Endless run;
  run.interrupt();
  EXPECT_EQ(run.wait(), 130);
}

TEST(CommandLine, AClosedPipeEndsTheRunQuietly) {
  SLUICE_REQUIRE_SHARED();
  Endless run;
  run.close_pipe();
  EXPECT_EQ(run.wait(), 1);
}

TEST(CommandLine, AFullDiskIsAnError) {
  SLUICE_REQUIRE_SHARED();
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "skipped: no /dev/full";
  const Scratch scratch;
  const int full = open("/dev/full", O_WRONLY);
  const int null = open("/dev/null", O_RDONLY);
  const int err = open((scratch / "err").c_str(), O_CREAT | O_WRONLY, 0600);
  EXPECT_EQ(exit_code(start({"tokenize", demo(), "--text", "x", "--json"}, null, full, err)), 1);
  for (const int fd : {full, null, err}) close(fd);
  EXPECT_NE(test::read_file(scratch / "err").find("No space left"), std::string::npos);
}

}  // namespace
}  // namespace sluice
