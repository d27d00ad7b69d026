// Stand-ins of experts (model/stand_in.h): they compute where an expert is missing and nowhere else, and what
// is called a stand-in is the same model.
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/stand_in.h"
#include "tests/faulty_reader.h"
#include "tests/forged_model.h"
#include "tests/golden/model_runner.h"
#include "tests/residency/same_bits.h"

namespace sluice::test {
namespace {

const ForgedModels& forged() {
  static const ForgedModels models;
  return models;
}

RunOptions standard() { return {.kv = KvType::kF16, .f32_activations = false, .chunk = 1}; }

LossyRouting stand_in(float threshold, bool always = false) {
  LossyRouting lossy;
  lossy.stand_in_threshold = threshold;
  lossy.stand_in_always = always;
  return lossy;
}

class StandIn : public testing::TestWithParam<const char*> {
 protected:
  const std::string path_ = forged().get("moe-tiny", GetParam());
  const std::string smaller_ = forged().get("moe-tiny", "affine2");
  const std::vector<int32_t> tokens_ = random_tokens(24, 1024, 7);
  const std::vector<float> exact_ = ModelRunner(path_, standard()).all_logits(tokens_);
};

// A stand-in of equal bytes gives equal bits, whoever is stood in for: the right expert of the right layer,
// in the right place of the sum.
TEST_P(StandIn, TakesThePlaceOfItsExpert) {
  for (const double weights : {0.0, 0.6, 0.8}) {
    for (const int64_t chunk : {1, 3, 16}) {
      for (const char* prefetch : {"off", "router"}) {
        RunOptions options = standard();
        options.stand_in = path_;
        options.lossy = stand_in(1);
        options.weights = weights;
        options.chunk = chunk;
        options.n_threads = chunk == 3 ? 4 : 1;
        options.prefetch = prefetch;
        const auto faults = std::make_shared<Faults>();
        faults->max_delay_us = 200;
        options.store.reader_factory = [faults](size_t depth) {
          return std::make_unique<FaultyReader>(make_reader(depth), depth, faults);
        };
        ModelRunner runner(path_, options);
        EXPECT_TRUE(same_bits(runner.all_logits(tokens_), exact_)) << weights << ", " << chunk;
        if (chunk > 1) continue;
        const uint64_t n_light = tokens_.size() * 4 * 3;  // layers, experts but the first
        EXPECT_GT(runner.model().n_stand_ins_used(), 0u) << weights;
        EXPECT_LE(runner.model().n_stand_ins_used(), n_light) << weights;
        EXPECT_GT(runner.model().store_stats().prefetched_bytes, 0u) << weights;
      }
    }
  }
}

TEST_P(StandIn, IsNotUsedWhereNothingIsMissing) {
  RunOptions options = standard();
  options.stand_in = smaller_;
  options.lossy = stand_in(1);
  ModelRunner whole(path_, options);
  EXPECT_TRUE(same_bits(whole.all_logits(tokens_), exact_));
  EXPECT_EQ(whole.model().n_stand_ins_used(), 0u);
  // Nor for experts that weigh enough.
  options.weights = 0;
  options.lossy = stand_in(1e-9F);
  ModelRunner heavy(path_, options);
  EXPECT_TRUE(same_bits(heavy.all_logits(tokens_), exact_));
  EXPECT_EQ(heavy.model().n_stand_ins_used(), 0u);
  options.lossy = stand_in(1);
  ModelRunner light(path_, options);
  EXPECT_FALSE(same_bits(light.all_logits(tokens_), exact_));
  EXPECT_GT(light.model().n_stand_ins_used(), 0u);
}

// Where all light experts are stood in for, nothing depends on what is in memory.
TEST_P(StandIn, OfAllLightExpertsGivesTheSameBitsAtEveryBudget) {
  RunOptions options = standard();
  options.stand_in = smaller_;
  options.lossy = stand_in(0.7F, true);
  options.lossy.top_k_threshold = 0.1F;
  ModelRunner whole(path_, options);
  const std::vector<float> reference = whole.all_logits(tokens_);
  const uint64_t n_used = whole.model().n_stand_ins_used();
  EXPECT_FALSE(same_bits(reference, exact_));
  EXPECT_GT(n_used, 0u);
  for (const double weights : {0.0, 0.5}) {
    for (const int64_t chunk : {1, 5, 64}) {
      options.weights = weights;
      options.chunk = chunk;
      ModelRunner runner(path_, options);
      EXPECT_TRUE(same_bits(runner.all_logits(tokens_), reference)) << weights << ", " << chunk;
      EXPECT_EQ(runner.model().n_stand_ins_used(), n_used);
    }
  }
}

TEST_P(StandIn, IsPartOfTheStatedNeeds) {
  ThreadPool pool(1);
  ModelOptions options;
  options.compute = {&kernel_table(), &pool, false};
  options.max_batch_tokens = 8;
  const ModelNeeds without = Model(Checkpoint::open(path_), options).needs();
  options.stand_in = Checkpoint::open(smaller_);
  const Model model(Checkpoint::open(path_), options);
  const ModelNeeds needs = model.needs();
  EXPECT_GE(needs.weights.minimum, without.weights.minimum + model.stand_in_bytes());
  EXPECT_GE(needs.weights.all, without.weights.all + model.stand_in_bytes());
  const auto kv_bytes = needs.kv_bytes_per_token * static_cast<uint64_t>(kKvBlockTokens);
  MemoryBudget budget(needs.weights.minimum + model.scratch_bytes(8, 1) + kv_bytes);
  Model loaded(Checkpoint::open(path_), options);
  loaded.load(needs.weights.minimum, budget);
  loaded.set_lossy(stand_in(1));
  const auto sequence = loaded.new_sequence();
  const BatchItem batch[] = {{sequence.get(), std::span(tokens_).first(8), LogitsWanted::kLast}};
  EXPECT_NO_THROW(loaded.forward(batch));
  MemoryBudget less(needs.weights.minimum - 1);
  EXPECT_THROW(Model(Checkpoint::open(path_), options).load(UINT64_MAX, less), Error);
}

INSTANTIATE_TEST_SUITE_P(Encodings, StandIn, testing::Values("affine4", "q4_k", "bf16"));

TEST(StandInRefusal, SaysWhatIsDifferent) {
  const auto refused = [](const std::string& model, const std::string& other, const std::string& word) {
    BoundModel bound = bind(*Checkpoint::open(model));
    try {
      bind_stand_ins(bound, *Checkpoint::open(other));
      ADD_FAILURE() << "accepted: " << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(other), std::string::npos) << error.what();
    }
  };
  const std::string moe = forged().get("moe-tiny", "q4_0"), dense = forged().get("llama-tiny", "q4_0");
  const auto shaped = [](const char* field, int64_t value) {
    return forged().get(forged().shape(field, "moe-tiny", {{field, value}}), "q4_0");
  };
  refused(dense, moe, "no experts to stand in for");
  refused(moe, dense, "it has 3 layers and the model 4");
  refused(moe, shaped("num_experts", 8), "it has 8 experts a layer and the model 16");
  refused(moe, shaped("moe_intermediate_size", 128), "it has 128 channels in an expert and the model 256");
  refused(moe, shaped("hidden_size", 512), "it has 512 channels and the model 256");
  // Other weights in the same shape show in the norms.
  const std::string varied = moe + ".varied.gguf";
  forge({.shape = "moe-tiny", .seed = 6, .varied = true, .out = varied});
  refused(moe, varied, "norm of layer 0");
}

}  // namespace
}  // namespace sluice::test
