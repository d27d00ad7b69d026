// Where a user's profiles lie, and what an engine learns and begins with.
#include "engine/task_profiles.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "sluice/engine.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// A state directory of its own.
class TaskProfiles : public testing::Test {
 protected:
  TaskProfiles() { ::setenv("XDG_STATE_HOME", state_.path().c_str(), 1); }
  ~TaskProfiles() override { ::unsetenv("XDG_STATE_HOME"); }

  static TaskProfile profile_of(uint64_t fingerprint) {
    TaskProfile profile;
    profile.model = "model-" + std::to_string(fingerprint);
    profile.fingerprint = fingerprint;
    profile.groups = {0};
    profile.n_units = 2;
    profile.learn(std::vector<uint64_t>{3, 1}, 4);
    return profile;
  }
  template <typename F>
  static ErrorKind kind_of(const F& act, const std::string& word) {
    try {
      act();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      return error.kind();
    }
    ADD_FAILURE() << "worked";
    return ErrorKind::kIo;
  }

  test::Scratch state_;
};

TEST_F(TaskProfiles, OneNameServesEveryModel) {
  EXPECT_TRUE(list_task_profiles().empty());
  EXPECT_FALSE(load_task_profile("coding", 7));
  save_task_profile("coding", profile_of(7));
  save_task_profile("coding", profile_of(8));
  save_task_profile("a.b-c_1", profile_of(7));
  EXPECT_EQ(load_task_profile("coding", 7)->model, "model-7");
  EXPECT_EQ(load_task_profile("coding", 8)->model, "model-8");
  EXPECT_FALSE(load_task_profile("coding", 9));
  state_.write("sluice/profiles/notes.txt", "not ours");
  const std::vector<StoredProfile> all = list_task_profiles();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].task, "a.b-c_1");
  EXPECT_EQ(all[2].fingerprint, 8U);
  EXPECT_EQ(all[2].path, task_profile_path("coding", 8));
}

TEST_F(TaskProfiles, NamesThatWouldLeaveTheDirectoryAreRefused) {
  for (const char* name : {"", ".", "..", ".x", "a/b", "../x", "a b", "\xc3\xa4", "a\n"})
    EXPECT_EQ(kind_of([&] { check_task_name(name); }, "name"), ErrorKind::kInvalid) << name;
  EXPECT_EQ(kind_of([] { check_task_name(std::string(65, 'x')); }, "64"), ErrorKind::kInvalid);
  check_task_name(std::string(64, 'x'));
}

TEST_F(TaskProfiles, AnotherModelsProfileIsRefusedByNameAndDamageIsListed) {
  save_task_profile("coding", profile_of(7));
  fs::copy_file(task_profile_path("coding", 7), task_profile_path("coding", 9));
  EXPECT_EQ(kind_of([] { load_task_profile("coding", 9); }, "model-7"), ErrorKind::kInvalid);
  std::ofstream(task_profile_path("torn", 7)) << "SLUICETP and then nothing";
  EXPECT_EQ(kind_of([] { load_task_profile("torn", 7); }, "sluice profile delete"), ErrorKind::kUnsupported);
  const std::vector<StoredProfile> all = list_task_profiles();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_TRUE(all[0].damage.empty());
  EXPECT_FALSE(all[1].damage.empty());
  EXPECT_FALSE(all[2].damage.empty());
}

struct Ran {
  EngineStats stats;
  std::vector<int32_t> tokens;
  uint64_t n_learned = 0;
};

Ran run(const EngineOptions& options, bool learns) {
  const std::unique_ptr<Engine> engine = Engine::open(options);
  engine->load();
  const std::unique_ptr<Session> session = engine->new_session();
  GenerateOptions greedy;
  greedy.sampler.temperature = 0;
  greedy.max_tokens = 40;
  session->append(engine->tokenize("Once upon a time, there was a little"), greedy);
  Session* const sessions[] = {session.get()};
  while (engine->step(sessions) > 0) {
  }
  Ran ran{engine->stats(), {session->generated().begin(), session->generated().end()}};
  if (learns) {
    ran.n_learned = engine->learn_task();
    EXPECT_EQ(engine->learn_task(), 0U);  // once is enough
  }
  return ran;
}

TEST_F(TaskProfiles, AnEngineLearnsAndBeginsWithWhatItLearned) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options;
  options.model = test::shared_path("demo-model");
  options.weights = "40%";
  options.prefetch = "off";
  const Ran cold = run(options, false);
  EXPECT_EQ(cold.stats.warm_experts, 0U);

  options.task = "stories";
  const Ran first = run(options, true);
  EXPECT_EQ(first.stats.misses, cold.stats.misses);  // nothing was known yet
  EXPECT_EQ(first.n_learned, first.stats.prefill_tokens + first.stats.decode_tokens);
  const std::vector<StoredProfile> all = list_task_profiles();
  ASSERT_EQ(all.size(), 1U);
  const TaskProfile& learned = all[0].profile;
  EXPECT_EQ(learned.n_tokens, first.n_learned);
  EXPECT_EQ(learned.architecture, "qwen3_moe");
  // Every token chooses four of 32 experts in each of 6 layers.
  double sum = 0;
  for (const float use : learned.uses) sum += static_cast<double>(use);
  EXPECT_DOUBLE_EQ(sum, static_cast<double>(first.n_learned) * 4 * 6);

  const Ran second = run(options, true);
  EXPECT_EQ(second.stats.task_tokens, first.n_learned);
  EXPECT_GT(second.stats.warm_experts, 30U);
  EXPECT_GE(second.stats.warm_bytes, second.stats.warm_experts);
  EXPECT_LT(second.stats.misses, cold.stats.misses * 9 / 10);
  EXPECT_EQ(second.tokens, cold.tokens);
  EXPECT_EQ(list_task_profiles()[0].profile.n_tokens, first.n_learned + second.n_learned);

  options.lossy = {"topk:0.2"};
  EXPECT_EQ(run(options, true).n_learned, 0U);
}

TEST_F(TaskProfiles, TheSameWeightsElsewhereAreTheSameModel) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options;
  options.model = test::shared_path("demo-model");
  const uint64_t fingerprint = Engine::open(options)->fingerprint();
  const fs::path copy = state_ / "renamed";
  fs::create_directories(copy);  // the original may be read-only
  fs::copy(options.model, copy);
  fs::rename(copy / "model.safetensors", copy / "other.safetensors");
  options.model = copy.string();
  EXPECT_EQ(Engine::open(options)->fingerprint(), fingerprint);
  options.model = test::shared_path("data/derived/stories260K/hf");
  EXPECT_NE(Engine::open(options)->fingerprint(), fingerprint);
  options.task = "stories";
  EXPECT_EQ(kind_of([&] { Engine::open(options); }, "no experts"), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace sluice
