#include "store/task_profile.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/hash.h"
#include "sluice/error.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

TaskProfile empty_profile() {
  TaskProfile profile;
  profile.model = "a model";
  profile.architecture = "olmoe";
  profile.fingerprint = 0x1234567890abcdef;
  profile.groups = {1, 2, 4};
  profile.n_units = 4;
  return profile;
}

// Of 100 tokens: unit u of each group is used 10 * u times, and unit 3 of the last by all of them.
TaskProfile small_profile() {
  TaskProfile profile = empty_profile();
  const std::vector<uint64_t> counts = {0, 10, 20, 30, 0, 10, 20, 30, 0, 10, 20, 100};
  profile.learn(counts, 100);
  profile.used_at = 1'790'000'000;
  return profile;
}

ErrorKind kind_of(std::span<const std::byte> bytes, const char* word = "profile delete") {
  try {
    parse_task_profile(bytes, "/here/it");
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.rfind("/here/it", 0), 0U) << what;
    EXPECT_NE(what.find(word), std::string::npos) << what;
    EXPECT_EQ(what.find('\n'), std::string::npos);
    return error.kind();
  }
  ADD_FAILURE() << "was read";
  return ErrorKind::kIo;
}

void seal(std::vector<std::byte>& bytes) {
  const uint64_t hash = fnv1a(std::span(bytes).first(bytes.size() - sizeof(uint64_t)));
  std::memcpy(bytes.data() + bytes.size() - sizeof(hash), &hash, sizeof(hash));
}

TEST(TaskProfile, RatesAreUsesOfATokenAndCoverageIsTheHottestsShare) {
  const TaskProfile profile = small_profile();
  EXPECT_EQ(profile.n_tokens, 100U);
  const std::vector<float> rates = profile.rates();
  EXPECT_FLOAT_EQ(rates[3], 0.3F);
  EXPECT_FLOAT_EQ(rates[11], 1.0F);
  EXPECT_EQ(rates[0], 0);
  EXPECT_DOUBLE_EQ(profile.coverage(0), 0);
  EXPECT_DOUBLE_EQ(profile.coverage(0.25), 160.0 / 250);
  EXPECT_DOUBLE_EQ(profile.coverage(1), 1);
  EXPECT_EQ(hottest_units(rates, 4), (std::vector<UnitId>{11, 3, 7, 2}));
  EXPECT_EQ(hottest_units(rates, 100).size(), 9U);  // none that was never used
}

TEST(TaskProfile, FollowsItsUser) {
  TaskProfile profile = small_profile();
  std::vector<uint64_t> counts(12, 0);
  counts[0] = static_cast<uint64_t>(TaskProfile::kHalfLife);
  profile.learn(counts, static_cast<uint64_t>(TaskProfile::kHalfLife));
  EXPECT_FLOAT_EQ(profile.uses[3], 15);  // half of what it was
  EXPECT_DOUBLE_EQ(profile.weight, 50 + TaskProfile::kHalfLife);
  EXPECT_EQ(profile.n_tokens, 100 + static_cast<uint64_t>(TaskProfile::kHalfLife));
  EXPECT_EQ(hottest_units(profile.rates(), 1), (std::vector<UnitId>{0}));
}

TEST(TaskProfile, LearnsNoMoreUsesThanTokens) {
  TaskProfile profile = empty_profile();
  profile.learn(std::vector<uint64_t>(12, 9), 5);  // of a pass that failed there are uses without tokens
  EXPECT_EQ(parse_task_profile(task_profile_bytes(profile), "it").rates(), std::vector<float>(12, 1));
}

TEST(TaskProfile, MergesByTokens) {
  TaskProfile a = small_profile();
  TaskProfile b = empty_profile();
  b.learn(std::vector<uint64_t>(12, 300), 300);
  b.used_at = a.used_at + 5;
  a.merge(b);
  EXPECT_EQ(a.n_tokens, 400U);
  EXPECT_FLOAT_EQ(a.rates()[0], 300.0F / static_cast<float>(a.weight));
  EXPECT_NEAR(a.rates()[0], 0.75, 0.01);  // the 100 older tokens have not aged: merging is no learning
  EXPECT_NEAR(a.rates()[3], 0.825, 0.01);
  EXPECT_EQ(a.used_at, b.used_at);
}

TEST(TaskProfile, ComesBackAsItWas) {
  const test::Scratch scratch;
  const std::string path = scratch / "profile";
  const TaskProfile profile = small_profile();
  write_task_profile(path, profile);
  const TaskProfile read = read_task_profile(path);
  EXPECT_EQ(read.model, profile.model);
  EXPECT_EQ(read.architecture, profile.architecture);
  EXPECT_TRUE(read.is_of_one_model_with(profile));
  EXPECT_EQ(read.n_tokens, profile.n_tokens);
  EXPECT_EQ(read.used_at, profile.used_at);
  EXPECT_EQ(read.weight, profile.weight);
  EXPECT_EQ(read.uses, profile.uses);
}

TEST(TaskProfile, AnythingElseIsRefused) {
  const std::vector<std::byte> whole = task_profile_bytes(small_profile());
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_EQ(kind_of(std::span(whole).first(n)), ErrorKind::kCorrupt) << n;
  std::vector<std::byte> other = whole;
  other.push_back(std::byte{0});
  EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt);
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bit : {0, 7}) {
      other = whole;
      other[at] ^= static_cast<std::byte>(1 << bit);
      const bool is_version = at >= 8 && at < 12;
      EXPECT_EQ(kind_of(other), is_version ? ErrorKind::kUnsupported : ErrorKind::kCorrupt) << at;
    }
  }
  // Sealed again, so that nothing but the values themselves gives them away. Lengths of the names, groups and
  // units that no file has bytes for:
  for (size_t at = 12; at < 28; ++at) {
    other = whole;
    other[at] = std::byte{0xff};
    seal(other);
    EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt) << at;
  }
  const size_t weight = 52, first_group = 60 + 7 + 5, first_use = first_group + 3 * sizeof(uint32_t);
  for (const size_t at : {weight + 7, first_group, first_group + 3, first_use + 3}) {
    other = whole;
    other[at] = std::byte{0x7f};  // infinite, out of order, too large
    seal(other);
    EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt) << at;
  }
  other = whole;
  other[first_use + 4 + 3] ^= std::byte{0x80};  // negative
  seal(other);
  EXPECT_EQ(kind_of(other), ErrorKind::kCorrupt);
  EXPECT_THROW(read_task_profile("/no/such/profile"), Error);
}

}  // namespace
}  // namespace sluice
