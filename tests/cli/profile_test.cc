// Task profiles from outside: what --task begins with and learns, and what sluice profile does with it.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/program.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using test::demo;
using test::expect_refused;
using test::Outcome;
using test::Scratch;
using test::sluice;

class Profile : public testing::Test {
 protected:
  Profile() { ::setenv("XDG_STATE_HOME", (scratch_ / "state").c_str(), 1); }
  ~Profile() override { ::unsetenv("XDG_STATE_HOME"); }

  static std::string text_of(const std::string& topic) {
    return test::shared_path("demo-model/eval/" + topic + ".valid.txt");
  }
  static Json json(const std::vector<std::string>& arguments) {
    const Outcome outcome = sluice(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? Json::parse(outcome.out) : Json();
  }
  static Outcome learn(const std::string& task, const std::string& topic, const std::string& limit = "4096") {
    return sluice({"profile", "learn", task, demo(), "--text", text_of(topic), "--limit", limit});
  }

  Scratch scratch_;
};

TEST_F(Profile, ARunTeachesItsTaskAndTheNextBeginsWithThat) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<std::string> cold = {
      "run", demo(),  "Once upon a time, there was a little", "-n", "60", "--weights", "40%", "--prefetch",
      "off", "--json"};
  std::vector<std::string> with_task = cold;
  with_task.insert(with_task.end(), {"--task", "stories"});
  const Json before = json(cold);
  EXPECT_FALSE(before.contains("task"));
  const Outcome first = sluice(with_task);
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find("starts cold"), std::string::npos) << first.err;
  EXPECT_EQ(Json::parse(first.out)["task"]["warm_experts"], 0);
  const Outcome second = sluice(with_task);
  EXPECT_EQ(second.err, "");
  const Json report = Json::parse(second.out);
  EXPECT_EQ(report["text"], before["text"]);
  EXPECT_EQ(report["task"]["name"], "stories");
  EXPECT_GT(report["task"]["known_tokens"], 60);
  EXPECT_GT(report["task"]["warm_experts"], 30);
  EXPECT_GT(report["task"]["warm_bytes"], 0);
  EXPECT_LT(report["cache"]["misses"].get<int>(), before["cache"]["misses"].get<int>());

  const Json listed = json({"profile", "list", "--json"});
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0]["task"], "stories");
  EXPECT_EQ(listed[0]["model"], fs::path(demo()).filename().string());
  EXPECT_EQ(listed[0]["tokens"], 2 * report["task"]["known_tokens"].get<int>());
  EXPECT_LT(listed[0]["coverage"]["10"], listed[0]["coverage"]["25"]);
  EXPECT_LT(listed[0]["coverage"]["25"], listed[0]["coverage"]["50"]);

  std::vector<std::string> stats = with_task;
  stats[9] = "--stats";
  const Outcome told = sluice(stats);
  EXPECT_NE(told.err.find("stories began with "), std::string::npos) << told.err;
}

TEST_F(Profile, AConversationTeaches) {
  SLUICE_REQUIRE_SHARED();
  const Outcome outcome = sluice({"chat", demo(), "-n", "8", "--task", "talk"}, "Hello\nAnd then?\n");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(json({"profile", "list", "--json"})[0]["tokens"], 16);
}

TEST_F(Profile, TheRightProfileSavesMissesAndTheSimulatorCountsThem) {
  SLUICE_REQUIRE_SHARED();
  ASSERT_EQ(learn("coding", "code", "8192").code, 0);
  // From a part of the same file that was not learned from.
  const std::string code = test::read_file(text_of("code"));
  const std::string text = scratch_.write("code.txt", code.substr(code.size() - 3000));
  const std::string trace = scratch_ / "t";
  ASSERT_EQ(sluice({"trace", demo(), "--file", text, "--limit", "64", "-o", trace}).code, 0);
  const auto misses = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"simulate", trace,     "--budgets", "30%,50%", "--policy",
                                          "forward",  "--split", "shared",    "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Json report = json(arguments);
    return std::pair(report["policies"][0]["points"][0]["misses"].get<int>(),
                     report["policies"][0]["points"][1]["misses"].get<int>());
  };
  const auto cold = misses({});
  const auto warm = misses({"--task", "coding"});
  EXPECT_LT(warm.first, cold.first * 9 / 10);
  EXPECT_LT(warm.second, cold.second * 3 / 4);
  expect_refused({"simulate", trace, "--task", "cooking"}, 1, "cooking");
}

TEST_F(Profile, ListShowMergeDelete) {
  SLUICE_REQUIRE_SHARED();
  EXPECT_NE(sluice({"profile", "list"}).out.find("no task profiles"), std::string::npos);
  expect_refused({"profile", "show", "coding"}, 1, "none has been learned");
  const Outcome learned = learn("coding", "code");
  ASSERT_EQ(learned.code, 0) << learned.err;
  EXPECT_NE(learned.out.find("learned from 4096 tokens"), std::string::npos) << learned.out;
  ASSERT_EQ(learn("stories", "stories", "1024").code, 0);

  const Outcome list = sluice({"profile", "list"});
  EXPECT_NE(list.out.find("coding      4096"), std::string::npos) << list.out;
  EXPECT_EQ(sluice({"profile", "list", demo()}).out, list.out);
  EXPECT_EQ(json({"profile", "list", test::stories(), "--json"}).size(), 0U);
  const Json coding = json({"profile", "show", "coding", "--json"});
  ASSERT_EQ(coding["rates"].size(), 6U);
  EXPECT_EQ(coding["rates"][0]["of_tokens"].size(), 32U);
  EXPECT_NE(sluice({"profile", "show", "coding"}).out.find("learned from 4096 tokens"), std::string::npos);

  ASSERT_EQ(sluice({"profile", "merge", "coding", "stories", "--into", "both"}).code, 0);
  const Json both = json({"profile", "show", "both", "--json"});
  EXPECT_EQ(both["tokens"], 4096 + 1024);
  const Json stories = json({"profile", "show", "stories", "--json"});
  const auto rate = [](const Json& profile) { return profile["rates"][3]["of_tokens"][7].get<double>(); };
  EXPECT_NEAR(rate(both), (4 * rate(coding) + rate(stories)) / 5, 1e-3);
  expect_refused({"profile", "merge", "coding", "stories", "--into", "both"}, 1,
                 "both has a profile already");
  EXPECT_EQ(sluice({"profile", "merge", "stories", "both", "--into", "both"}).code, 0);
  expect_refused({"profile", "merge", "coding", "coding", "--into", "x"}, 1, "two tasks");
  expect_refused({"profile", "merge", "coding", "nothing", "--into", "x"}, 1,
                 "there are both, coding, stories");
  expect_refused({"profile", "merge", "coding", "stories", "--into", "../x"}, 1, "no name for a task");

  EXPECT_EQ(sluice({"profile", "delete", "both"}).code, 0);
  expect_refused({"profile", "delete", "both"}, 1, "there are coding, stories");
  EXPECT_EQ(json({"profile", "list", "--json"}).size(), 2U);
  expect_refused({"profile"}, 2, "list, show, merge, delete or learn");
  expect_refused({"profile", "lsit"}, 2, "did you mean list?");
  expect_refused({"profile", "list", "--jsn"}, 2, "did you mean --json?");
  expect_refused({"profile", "merge", "coding", "stories"}, 2, "--into");
  EXPECT_NE(sluice({"profile", "learn", "--help"}).out.find("--text"), std::string::npos);
}

TEST_F(Profile, WhatCannotBeReadIsRefusedByNameAndCanBeDeleted) {
  SLUICE_REQUIRE_SHARED();
  ASSERT_EQ(learn("coding", "code", "512").code, 0);
  const std::string path = json({"profile", "list", "--json"})[0]["path"];
  fs::resize_file(path, fs::file_size(path) / 2);
  expect_refused({"run", demo(), "x", "-n", "1", "--task", "coding"}, 1, "sluice profile delete");
  expect_refused({"profile", "show", "coding"}, 1, path);
  const Outcome list = sluice({"profile", "list"});
  EXPECT_EQ(list.code, 0);
  EXPECT_NE(list.err.find(path), std::string::npos) << list.err;
  EXPECT_TRUE(json({"profile", "list", "--json"})[0].contains("damage"));
  EXPECT_EQ(sluice({"profile", "delete", "coding"}).code, 0);
  EXPECT_FALSE(fs::exists(path));
  expect_refused({"run", demo(), "x", "-n", "1", "--task", "a/b"}, 1, "no name for a task");
}

TEST_F(Profile, AStateThatCannotBeWrittenIsOneNote) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<std::string> arguments = {"run", demo(), "Once", "-n", "2", "--task", "coding"};
  scratch_.write("state", "a file where the directory should be");
  const Outcome blocked = sluice(arguments);
  EXPECT_EQ(blocked.code, 0) << blocked.err;
  EXPECT_GT(blocked.out.size(), 2U);
  EXPECT_NE(blocked.err.find("sluice: note: the task profile did not learn"), std::string::npos)
      << blocked.err;
  EXPECT_EQ(std::count(blocked.err.begin(), blocked.err.end(), '\n'), 2) << blocked.err;  // and "starts cold"
}

}  // namespace
}  // namespace sluice
