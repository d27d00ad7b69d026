// The cache never changes the result: logits are equal bit for bit at every budget, chunk, thread count and
// batch, with reads delayed, shortened and reordered.
#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <random>
#include <thread>

#include "tests/faulty_reader.h"
#include "tests/forged_model.h"
#include "tests/golden/model_runner.h"
#include "tests/residency/same_bits.h"
#include "tests/shared_data.h"

namespace sluice::test {
namespace {

struct Case {
  const char* path;  // in the shared data; or the shape of a forged model
  int64_t vocab;
  int64_t n_tokens;
  const char* encoding = nullptr;  // of a forged model

  std::string find() const {
    static const ForgedModels forged;
    return encoding ? forged.get(path, encoding) : shared_path(path);
  }
  bool is_here() const { return encoding || path[0] == '/' || have_shared(); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.path;
  if (c.encoding) *out << ' ' << c.encoding;
}

class Residency : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!GetParam().is_here()) GTEST_SKIP() << "skipped: no shared data";
    path_ = GetParam().find();
    tokens_ = random_tokens(GetParam().n_tokens, GetParam().vocab, 7);
    reference_ = ModelRunner(path_, standard()).all_logits(tokens_);
  }
  static RunOptions standard() { return {.kv = KvType::kF16, .f32_activations = false, .chunk = 512}; }

  std::string path_;
  std::vector<int32_t> tokens_;
  std::vector<float> reference_;
};

TEST_P(Residency, EveryChunk) {
  for (const int64_t chunk : {1, 7, 64}) {
    RunOptions options = standard();
    options.chunk = chunk;
    EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_)) << "chunk " << chunk;
  }
}

TEST_P(Residency, EveryChunkAndThreadCountWithInt8Kv) {
  RunOptions options = standard();
  options.kv = KvType::kInt8;
  const std::vector<float> reference = ModelRunner(path_, options).all_logits(tokens_);
  EXPECT_FALSE(same_bits(reference, reference_));
  for (const int n_threads : {1, 4}) {
    options.n_threads = n_threads;
    for (const int64_t chunk : {1, 7, 64}) {
      options.chunk = chunk;
      EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference))
          << "threads " << n_threads << ", chunk " << chunk;
    }
  }
}

TEST_P(Residency, EveryBudgetAndThreadCount) {
  for (const double weights : {1.0, 0.5, 0.25, 0.0}) {
    for (const int n_threads : {1, 2, 4}) {
      for (const int64_t chunk : {1, 64}) {
        RunOptions options = standard();
        options.weights = weights;
        options.n_threads = n_threads;
        options.chunk = chunk;
        EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_))
            << "weights " << weights << ", threads " << n_threads << ", chunk " << chunk;
      }
    }
  }
}

TEST_P(Residency, EveryPolicyAndIo) {
  for (const std::string_view policy : cache_policy_names()) {
    for (const IoChoice io : {IoChoice::kBuffered, IoChoice::kDirect}) {
      RunOptions options = standard();
      options.weights = 0.3;
      options.store.policy = policy;
      options.store.split = io == IoChoice::kDirect ? "measured" : "shared";
      options.store.io = io;
      EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_)) << policy;
    }
  }
}

TEST_P(Residency, DelayedShortenedAndReorderedReads) {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    RunOptions options = standard();
    options.weights = seed == 3 ? 0.0 : 0.3;
    options.chunk = 16;
    const auto faults = std::make_shared<Faults>();
    faults->seed = seed;
    faults->max_delay_us = 300;
    options.store.reader_factory = [faults](size_t depth) {
      return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
    };
    EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_)) << "seed " << seed;
  }
}

TEST_P(Residency, EveryPredictor) {
  for (const char* prefetch :
       {"auto", "study", "router", "linear", "shadow", "cooccurrence", "previous", "frequency"}) {
    RunOptions options = standard();
    options.prefetch = prefetch;
    options.chunk = 1;
    const auto faults = std::make_shared<Faults>();
    faults->max_delay_us = 100;
    options.store.reader_factory = [faults](size_t depth) {
      return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
    };
    options.weights = 0.3;
    ModelRunner runner(path_, options);
    EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference_)) << prefetch;
    if (!runner.spec().is_moe()) return;
    const StoreStats stats = runner.model().store_stats();
    const std::string mode = prefetch;
    if (mode == "study") {
      EXPECT_EQ(stats.prefetched_bytes, 0u);
    } else if (mode == "router" && stats.misses > 0) {  // what others put first may well be in memory
      EXPECT_GT(stats.prefetched_bytes, 0u) << prefetch;
    }
  }
}

// A prompt of some tokens, too few to want all experts of a layer.
TEST_P(Residency, PromptsReadAheadWhatTheNextRouterSeemsToWant) {
  for (const char* prefetch : {"off", "auto"}) {
    RunOptions options = standard();
    options.prefetch = prefetch;
    options.chunk = 6;
    options.weights = 0.5;
    ModelRunner runner(path_, options);
    EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference_)) << prefetch;
    const StoreStats stats = runner.model().store_stats();
    if (std::string_view(prefetch) == "off") {
      EXPECT_EQ(stats.prefetched_bytes, 0u);
    } else if (runner.spec().is_moe() && GetParam().encoding) {  // the others have few experts
      EXPECT_GT(stats.useful_prefetched_bytes, 0u);
    }
  }
}

// What former runs used is there first, right or wrong.
TEST_P(Residency, BegunWithAnyExperts) {
  std::mt19937 random(3);
  for (const double weights : {0.0, 0.3, 0.6, 1.0}) {
    RunOptions options = standard();
    options.weights = weights;
    options.chunk = 7;
    const ModelSpec spec = ModelRunner(path_, options).spec();
    if (!spec.is_moe()) return;
    options.expert_rates.resize(static_cast<size_t>(spec.n_layers * spec.n_experts));
    for (float& rate : options.expert_rates) rate = static_cast<float>(random() % 1000) / 1000;
    for (const uint32_t n_parts : {1U, 2U}) {
      options.expert_parts = n_parts;
      ModelRunner runner(path_, options);
      const StoreStats stats = runner.model().store_stats();
      EXPECT_EQ(stats.warm_units, stats.cache_slots);
      EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference_)) << "weights " << weights;
    }
  }
}

// Experts computed before their router has chosen: the same bits, and the cache counts what it counts
// without.
TEST_P(Residency, EverySpeculation) {
  int n = 0;  // predictors and thread counts go in turns
  for (const double weights : {1.0, 0.5}) {
    RunOptions options = standard();
    options.weights = weights;
    options.chunk = 1;
    ModelRunner plain(path_, options);
    ASSERT_TRUE(same_bits(plain.all_logits(tokens_), reference_));
    const StoreStats counted = plain.model().store_stats();
    EXPECT_EQ(plain.model().speculation().experts, 0u);
    for (const char* prefetch :
         {"off", "auto", "study", "router", "linear", "shadow", "cooccurrence", "previous", "frequency"}) {
      const int n_threads = 1 << n++ % 3;
      options.prefetch = prefetch;
      options.n_threads = n_threads;
      options.speculate_experts = n_threads == 2 ? 1 : 256;
      ModelRunner runner(path_, options);
      EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference_)) << prefetch << ", " << n_threads;
      const SpeculationCounts counts = runner.model().speculation();
      if (!runner.spec().is_moe()) {
        EXPECT_EQ(counts.experts, 0u);
        continue;
      }
      EXPECT_LE(counts.confirmed, counts.experts);
      EXPECT_EQ(counts.wasted_bytes > 0, counts.confirmed < counts.experts);
      if (weights < 1 && std::string_view(prefetch) != "off") continue;
      // A few slots may hold nothing that is likely.
      EXPECT_TRUE(weights < 1 || counts.confirmed > 0) << prefetch;
      EXPECT_EQ(runner.model().store_stats().hits, counted.hits);
      EXPECT_EQ(runner.model().store_stats().misses, counted.misses);
    }
    ++n;
  }
}

// Experts in halves, whose reads end in any order.
TEST_P(Residency, HalfExperts) {
  for (const double weights : {1.0, 0.6, 0.3, 0.0}) {
    for (const int n_threads : {1, 2, 4}) {
      RunOptions options = standard();
      options.weights = weights;
      options.n_threads = n_threads;
      options.chunk = n_threads == 1 ? 64 : 1;
      options.expert_parts = 2;
      options.prefetch = n_threads == 2 ? "off" : "router";
      options.speculate_experts = n_threads == 4 ? 2 : 0;
      const auto faults = std::make_shared<Faults>();
      faults->seed = static_cast<uint32_t>(n_threads);
      faults->max_delay_us = 30;
      options.store.reader_factory = [faults](size_t depth) {
        return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
      };
      ModelRunner runner(path_, options);
      EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference_))
          << "weights " << weights << ", threads " << n_threads;
      const StoreStats stats = runner.model().store_stats();
      EXPECT_EQ((stats.hits + stats.misses) % 2, 0u);
      if (runner.spec().is_moe() && n_threads == 4 && weights == 1.0) {
        EXPECT_GT(runner.model().speculation().confirmed, 0u);
      }
    }
  }
}

// Memory that comes and goes between passes, as others need it.
class Waves final : public PressureSource {
 public:
  Pressure look(int) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return {++n_ % 8 < 3 ? 0 : uint64_t{1} << 40, 0, false};
  }
  void wake() noexcept override {}
  std::string describe() const override { return "waves"; }

 private:
  int n_ = 0;
};

TEST_P(Residency, MemoryGivenBackAndTakenAgain) {
  for (const double weights : {1.0, 0.5}) {
    RunOptions options = standard();
    options.weights = weights;
    options.chunk = 4;
    options.store.governor = true;
    options.store.governor_options = {
        .max_reserve = 1 << 16, .horizon_s = 0, .quiet_s = 0.002, .grow_interval_s = 0};
    options.store.pressure_factory = [] { return std::make_unique<Waves>(); };
    ModelRunner runner(path_, options);
    const bool has_slots = runner.spec().n_experts > 0 && weights == 1.0;
    StoreStats stats;
    for (int i = 0; i < 3 || (has_slots && i < 500 && stats.governor.taken_again_bytes == 0); ++i) {
      ASSERT_TRUE(same_bits(runner.all_logits(tokens_), reference_)) << "weights " << weights;
      stats = runner.model().store_stats();
    }
    // Dense models have nothing to give, nor has a cache of a few slots.
    if (has_slots) {
      EXPECT_GT(stats.governor.given_back_bytes, 0u);
      EXPECT_GT(stats.governor.taken_again_bytes, 0u);
    }
  }
}

TEST_P(Residency, BatchOfThree) {
  const std::vector<std::vector<int32_t>> sequences = {tokens_, random_tokens(20, GetParam().vocab, 8),
                                                       random_tokens(33, GetParam().vocab, 9)};
  for (const double weights : {1.0, 0.3}) {
    RunOptions options = standard();
    options.weights = weights;
    options.speculate_experts = 4;  // acts as soon as two of the three have ended
    ModelRunner runner(path_, options);
    const auto batched = runner.batched_logits(sequences);
    EXPECT_TRUE(same_bits(batched[0], reference_));
    for (const size_t i : {1u, 2u}) EXPECT_TRUE(same_bits(batched[i], runner.all_logits(sequences[i])));
  }
}

// What a model says that it needs is what it takes: no budget is too small by a page.
TEST_P(Residency, StatedNeedsSuffice) {
  constexpr int64_t kRows = 8;
  ThreadPool pool(1);
  ModelOptions options;
  options.compute = {&kernel_table(), &pool, false};
  options.max_batch_tokens = kRows;
  for (const KvType kv : {KvType::kF16, KvType::kInt8}) {
    options.kv_type = kv;
    Model model(Checkpoint::open(path_), options);
    const ModelNeeds needs = model.needs();
    const auto kv_bytes = needs.kv_bytes_per_token * static_cast<uint64_t>(kKvBlockTokens);
    for (const int64_t n_logits : {int64_t{1}, kRows}) {
      MemoryBudget budget(needs.weights.minimum + model.scratch_bytes(kRows, n_logits) + kv_bytes);
      Model fresh(Checkpoint::open(path_), options);
      fresh.load(needs.weights.minimum, budget);
      const auto sequence = fresh.new_sequence();
      const BatchItem batch[] = {{sequence.get(), std::span(tokens_).first(kRows),
                                  n_logits == 1 ? LogitsWanted::kLast : LogitsWanted::kAll}};
      EXPECT_NO_THROW(fresh.forward(batch)) << n_logits << " rows of logits";
      EXPECT_EQ(budget.used(MemoryUse::kKvCache), kv_bytes);
    }
  }
}

// Contexts of several segments, which many threads share.
TEST(LongContext, EveryChunkAndThreadCount) {
  const ForgedModels forged;
  const std::string path = forged.get("llama-tiny", "q4_0");
  const std::vector<int32_t> tokens = random_tokens(1100, 1024, 7);
  RunOptions options{.kv = KvType::kF16, .f32_activations = false, .chunk = 512};
  const std::vector<float> reference = ModelRunner(path, options).all_logits(tokens);
  for (const auto& [n_threads, chunk] : {std::pair{1, 1}, {4, 1}, {4, 7}, {2, 100}, {4, 512}}) {
    options.n_threads = n_threads;
    options.chunk = chunk;
    EXPECT_TRUE(same_bits(ModelRunner(path, options).all_logits(tokens), reference))
        << "threads " << n_threads << ", chunk " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Residency,
                         testing::Values(Case{"data/derived/stories260K/hf", 512, 80},
                                         Case{"data/derived/stories260K/stories260K-F16.gguf", 512, 80},
                                         Case{"data/derived/moe/tiny-qwen3-moe", 272, 80},
                                         Case{"data/derived/moe/tiny-mixtral", 272, 80},
                                         Case{"data/weights/gguf/llama-2-tiny-random.gguf", 32000, 40},
                                         Case{"demo-model", 4096, 130},
                                         Case{SLUICE_SOURCE_DIR "/models/demo", 4096, 70}));

INSTANTIATE_TEST_SUITE_P(
    Forged, Residency,
    testing::Values(Case{"llama-tiny", 1024, 20, "q4_0"}, Case{"llama-tiny", 1024, 20, "q4_k"},
                    Case{"llama-tiny", 1024, 20, "affine4"}, Case{"llama-tiny", 1024, 20, "bf16"},
                    Case{"moe-tiny", 1024, 20, "q4_0"}, Case{"moe-tiny", 1024, 20, "q4_k"},
                    Case{"moe-tiny", 1024, 20, "affine4"}, Case{"moe-tiny", 1024, 20, "bf16"}));

}  // namespace
}  // namespace sluice::test
