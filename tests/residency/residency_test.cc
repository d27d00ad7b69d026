// The cache never changes the result: logits are equal bit for bit at every budget, chunk, thread count and
// batch, with reads delayed, shortened and reordered.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/faulty_reader.h"
#include "tests/golden/model_runner.h"
#include "tests/shared_data.h"

namespace sluice::test {
namespace {

struct Case {
  const char* path;
  int64_t vocab;
  int64_t n_tokens;
};

std::vector<int32_t> random_tokens(int64_t n, int64_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
  return tokens;
}

// Bitwise, and says where the first difference is.
testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size())
    return testing::AssertionFailure() << a.size() << " against " << b.size() << " logits";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) {
      return testing::AssertionFailure() << "logit " << i << ": " << a[i] << " against " << b[i];
    }
  }
  return testing::AssertionSuccess();
}

class Residency : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!have_shared()) return;
    path_ = shared_path(GetParam().path);
    tokens_ = random_tokens(GetParam().n_tokens, GetParam().vocab, 7);
    reference_ = ModelRunner(path_, standard()).all_logits(tokens_);
  }
  static RunOptions standard() { return {.kv = KvType::kF16, .f32_activations = false, .chunk = 512}; }

  std::string path_;
  std::vector<int32_t> tokens_;
  std::vector<float> reference_;
};

TEST_P(Residency, EveryChunk) {
  SLUICE_REQUIRE_SHARED();
  for (const int64_t chunk : {1, 7, 64}) {
    RunOptions options = standard();
    options.chunk = chunk;
    EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_)) << "chunk " << chunk;
  }
}

TEST_P(Residency, EveryBudgetAndThreadCount) {
  SLUICE_REQUIRE_SHARED();
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
  SLUICE_REQUIRE_SHARED();
  for (const char* policy : {"lru", "clock"}) {
    for (const IoChoice io : {IoChoice::kBuffered, IoChoice::kDirect}) {
      RunOptions options = standard();
      options.weights = 0.3;
      options.store.policy = policy;
      options.store.io = io;
      EXPECT_TRUE(same_bits(ModelRunner(path_, options).all_logits(tokens_), reference_)) << policy;
    }
  }
}

TEST_P(Residency, DelayedShortenedAndReorderedReads) {
  SLUICE_REQUIRE_SHARED();
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

TEST_P(Residency, BatchOfThree) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<std::vector<int32_t>> sequences = {tokens_, random_tokens(20, GetParam().vocab, 8),
                                                       random_tokens(33, GetParam().vocab, 9)};
  for (const double weights : {1.0, 0.3}) {
    RunOptions options = standard();
    options.weights = weights;
    ModelRunner runner(path_, options);
    const auto batched = runner.batched_logits(sequences);
    EXPECT_TRUE(same_bits(batched[0], reference_));
    for (const size_t i : {1u, 2u}) EXPECT_TRUE(same_bits(batched[i], runner.all_logits(sequences[i])));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Residency,
                         testing::Values(Case{"data/derived/stories260K/hf", 512, 80},
                                         Case{"data/derived/stories260K/stories260K-F16.gguf", 512, 80},
                                         Case{"data/derived/moe/tiny-qwen3-moe", 272, 80},
                                         Case{"data/derived/moe/tiny-mixtral", 272, 80},
                                         Case{"data/weights/gguf/llama-2-tiny-random.gguf", 32000, 40},
                                         Case{"demo-model", 4096, 130}));

}  // namespace
}  // namespace sluice::test
