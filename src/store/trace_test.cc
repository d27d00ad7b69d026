#include "store/trace.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "sluice/error.h"
#include "store/cache_simulator.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

// A prompt of three tokens and four single ones, in layers 1, 2 and 4.
RoutingTrace small_trace(uint32_t n_experts) {
  TraceRecorder recorder({.model = "a model",
                          .groups = {},
                          .n_units = n_experts,
                          .n_chosen = 2,
                          .unit_bytes = 1000,
                          .fixed_bytes = 5000,
                          .token_seconds = 0.25,
                          .unit_seconds = 0.125,
                          .disk_bytes_s = 1e9},
                         7, 3);
  std::mt19937 random(1);
  for (int pass = 0; pass < 5; ++pass) {
    for (const uint32_t layer : {1U, 2U, 4U}) {
      for (int token = 0; token < (pass == 0 ? 3 : 1); ++token) {
        const auto first = static_cast<int32_t>(random() % n_experts);
        const int32_t chosen[] = {first, static_cast<int32_t>((first + 1U + random() % 3) % n_experts)};
        const float weights[] = {0.75F, 0.25F};
        recorder.add(layer, chosen, weights);
      }
    }
    recorder.end_pass(pass == 0);
  }
  return std::move(recorder.trace());
}

class TraceFile : public testing::Test {
 protected:
  std::string write(const RoutingTrace& trace) {
    write_trace(path_, trace);
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static ErrorKind kind_of(const std::string& bytes) {
    try {
      parse_trace(std::as_bytes(std::span(bytes)), "it");
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("it", 0), 0U) << error.what();
      return error.kind();
    }
    ADD_FAILURE() << "was read";
    return ErrorKind::kIo;
  }

  test::Scratch scratch_;
  std::string path_ = scratch_ / "trace";
};

TEST_F(TraceFile, ComesBackAsItWas) {
  for (const uint32_t n_experts : {8U, 300U}) {
    const RoutingTrace trace = small_trace(n_experts);
    write(trace);
    const RoutingTrace read = read_trace(path_);
    EXPECT_EQ(read.shape.model, "a model");
    EXPECT_EQ(read.shape.groups, (std::vector<uint32_t>{1, 2, 4}));
    EXPECT_EQ(read.shape.n_units, n_experts);
    EXPECT_EQ(read.shape.n_chosen, 2U);
    EXPECT_EQ(read.shape.unit_bytes, 1000U);
    EXPECT_EQ(read.shape.fixed_bytes, 5000U);
    EXPECT_EQ(read.shape.token_seconds, 0.25);
    EXPECT_EQ(read.shape.unit_seconds, 0.125);
    EXPECT_EQ(read.shape.disk_bytes_s, 1e9);
    EXPECT_EQ(read.units, trace.units);
    EXPECT_EQ(read.weights, trace.weights);
    EXPECT_EQ(read.n_tokens(), 7U);
    ASSERT_EQ(read.passes.size(), 5U);
    EXPECT_EQ(read.passes[0].n_tokens, 3U);
    EXPECT_TRUE(read.passes[0].is_prompt);
    EXPECT_FALSE(read.passes[1].is_prompt);
    EXPECT_EQ(read.chosen(4, 2).size(), 2U);
    EXPECT_EQ(read.chosen(4, 2).data() + 2, read.units.data() + read.units.size());
  }
}

TEST_F(TraceFile, AnythingElseIsRefused) {
  const std::string whole = write(small_trace(300));
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_EQ(kind_of(whole.substr(0, n)), ErrorKind::kCorrupt) << n;
  EXPECT_EQ(kind_of(whole + "x"), ErrorKind::kCorrupt);
  std::string other = whole;
  other[8] = 2;
  EXPECT_EQ(kind_of(other), ErrorKind::kUnsupported);
  const size_t n_chosen = 7 * 3 * 2;
  other = whole;
  other[other.size() - 4 * n_chosen + 1] = 0x7f;  // an expert far beyond the 300
  EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt);
  other = whole;
  other[other.size() - 1] = 0x7f;  // a weight that is not a number
  EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt);
  // Counts that would need more memory than the file has bytes.
  for (size_t at = 12; at < 28; ++at) {
    if (at == 20 || at == 21) continue;  // fewer experts than a model may have
    other = whole;
    other[at] = static_cast<char>(0xff);
    EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt) << at;
  }
}

TEST(BestPossibleMisses, GivesUpWhatIsNeededLast) {
  const std::vector<uint64_t> accesses = {1, 2, 3, 1, 2, 3};
  EXPECT_EQ(best_possible_misses(accesses, 3), 0U);  // the first fill is free
  EXPECT_EQ(best_possible_misses(accesses, 2), 2U);  // 3 is read and dropped, and read again
  EXPECT_EQ(best_possible_misses(accesses, 1), 4U);
  EXPECT_EQ(best_possible_misses(accesses, 0), 6U);
}

TEST(CacheSimulator, NoPolicyBeatsTheBestAndAllSlotsLeaveOnlyFirstReads) {
  const RoutingTrace trace = small_trace(8);
  for (const size_t n_slots : {1U, 2U, 5U, 24U}) {
    const CacheCounts best = simulate_best(trace, n_slots);
    for (const std::string_view policy : cache_policy_names()) {
      for (const std::string_view split : cache_split_names()) {
        const CacheCounts counts =
            simulate_cache(trace, n_slots, make_cache_policy(std::string(policy), std::string(split)));
        EXPECT_EQ(counts.hits + counts.misses, best.hits + best.misses);
        EXPECT_GE(counts.misses, best.misses) << policy << " in " << n_slots;
        EXPECT_EQ(counts.misses_of.size(), 5U * 3);
        if (n_slots == 24) {
          EXPECT_EQ(counts.misses, best.misses);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice
