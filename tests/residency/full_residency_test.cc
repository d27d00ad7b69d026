// The same promise at a gigabyte: forged dense and MoE checkpoints in three encodings, at every budget and
// thread count, alone and in a batch, with reads delayed, shortened and reordered. Minutes long and gigabytes
// large, so it runs only where SLUICE_FULL=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "tests/faulty_reader.h"
#include "tests/forged_model.h"
#include "tests/golden/model_runner.h"
#include "tests/residency/same_bits.h"

namespace sluice::test {
namespace {

struct Case {
  const char* name;
  const char* preset;
  int n_layers;
  const char* encoding;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class FullResidency : public testing::TestWithParam<Case> {};

RunOptions options_for(double weights, int n_threads, uint32_t seed) {
  RunOptions options{.kv = KvType::kF16, .f32_activations = false, .n_threads = n_threads, .chunk = 5};
  options.weights = weights;
  const auto faults = std::make_shared<Faults>();
  faults->seed = seed;
  faults->max_delay_us = 200;
  options.store.reader_factory = [faults](size_t depth) {
    return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
  };
  return options;
}

TEST_P(FullResidency, SameIdsAndLogitsEverywhere) {
  const char* full = std::getenv("SLUICE_FULL");
  if (!full || std::string_view(full) != "1") GTEST_SKIP() << "skipped: set SLUICE_FULL=1";
  const ForgedModels models;
  const Case& c = GetParam();
  const std::string shape = models.shape("shape.json", c.preset, {{"num_hidden_layers", c.n_layers}});
  const std::string path = models.get(shape, c.encoding);
  std::printf("%s: %.2f GB\n", c.name, static_cast<double>(Checkpoint::open(path)->total_bytes()) / 1e9);

  constexpr int64_t kVocab = 32000, kGenerated = 3;
  const std::vector<std::vector<int32_t>> sequences = {
      random_tokens(8, kVocab, 1), random_tokens(3, kVocab, 2), random_tokens(5, kVocab, 3)};
  std::vector<float> logits;  // everything resident, one thread, whole chunks
  std::vector<int32_t> ids;
  std::vector<std::vector<float>> alone;
  {
    ModelRunner runner(path, {.kv = KvType::kF16, .f32_activations = false});
    logits = runner.all_logits(sequences[0]);
    ids = runner.greedy(sequences[0], kGenerated);
    for (const auto& sequence : sequences) alone.push_back(runner.all_logits(sequence));
  }
  uint32_t seed = 0;
  for (const double weights : {1.0, 0.5, 0.25, 0.0}) {
    for (const int n_threads : {1, 2, 4}) {
      SCOPED_TRACE("weights " + std::to_string(weights) + ", threads " + std::to_string(n_threads));
      ModelRunner runner(path, options_for(weights, n_threads, ++seed));
      EXPECT_TRUE(same_bits(runner.all_logits(sequences[0]), logits));
      EXPECT_EQ(runner.greedy(sequences[0], kGenerated), ids);
      if (n_threads != 2) continue;
      const auto batched = runner.batched_logits(sequences);
      for (size_t i = 0; i < sequences.size(); ++i)
        EXPECT_TRUE(same_bits(batched[i], alone[i])) << "sequence " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Gigabyte, FullResidency,
    testing::Values(Case{"dense_q4_0", "llama-1b", 24, "q4_0"}, Case{"dense_q8_0", "llama-1b", 12, "q8_0"},
                    Case{"dense_affine4", "llama-1b", 24, "affine4"},
                    Case{"moe_q4_0", "moe-small", 9, "q4_0"}, Case{"moe_q8_0", "moe-small", 5, "q8_0"},
                    Case{"moe_affine4", "moe-small", 9, "affine4"}),
    [](const testing::TestParamInfo<Case>& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace sluice::test
