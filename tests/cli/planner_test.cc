// sluice doctor, plan and browse from outside: what they print, keep and refuse.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
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
namespace fs = std::filesystem;

// A user without a past: state and cache in a directory of their own. Measured once for all tests.
class Planner : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new Scratch;
    ::setenv("XDG_STATE_HOME", (*scratch_ / "state").c_str(), 1);
    ::setenv("HF_HUB_CACHE", (*scratch_ / "hub").c_str(), 1);
    doctor_ = new Outcome(sluice({"doctor", "--quick", "--path", *scratch_ / "", "--json"}));
  }
  static void TearDownTestSuite() {
    delete doctor_;
    delete scratch_;
  }
  static std::string profile() { return *scratch_ / "state/sluice/hardware.json"; }

  static Scratch* scratch_;
  static Outcome* doctor_;
};
Scratch* Planner::scratch_ = nullptr;
Outcome* Planner::doctor_ = nullptr;

TEST_F(Planner, DoctorMeasuresAndKeeps) {
  ASSERT_EQ(doctor_->code, 0) << doctor_->err;
  const Json report = Json::parse(doctor_->out);
  EXPECT_EQ(report["saved"], profile());
  const Json kept = Json::parse(test::read_file(profile()));
  EXPECT_EQ(kept["disk"]["speeds"], report["disk"]["speeds"]);
  EXPECT_EQ(kept["products"], report["products"]);
  EXPECT_GE(report["disk"]["speeds"].size(), 1U);
  for (const Json& speed : report["disk"]["speeds"]) EXPECT_GT(double(speed["bytes_s"]), 1e5) << speed;
  for (const Json& product : report["products"])
    for (const Json& speed : product["bytes_s"]) EXPECT_GT(double(speed), 1e6) << product;
  EXPECT_GT(double(report["int8_operations_s"]), 1e8);
  EXPECT_GT(double(report["attention"]["bytes_s"]), 1e7);
  EXPECT_TRUE(report["machine"]["io_uring"].is_boolean());
  for (const Json& finding : report["findings"]) {
    EXPECT_TRUE(finding["level"] == "problem" || finding["level"] == "note");
    EXPECT_FALSE(std::string(finding["what"]).empty());
  }
  // No test file is left.
  for (const auto& entry : fs::directory_iterator(*scratch_ / ""))
    EXPECT_TRUE(entry.path().filename() == "state" || entry.path().filename() == "hub") << entry.path();
}

TEST_F(Planner, DoctorReadsAFileThatIsThere) {
  const std::string file = *scratch_ / "big";
  { std::ofstream(file, std::ios::binary) << std::string(70 << 20, 'x'); }
  const fs::file_time_type before = fs::last_write_time(file);
  const Outcome outcome = sluice({"doctor", "--quick", "--file", file});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("disk: " + file), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("kept for plan and browse in " + profile()), std::string::npos) << outcome.out;
  EXPECT_EQ(fs::last_write_time(file), before);
  fs::remove(file);
}

TEST_F(Planner, DoctorRefusesPolitely) {
  expect_refused({"doctor", "--quick", "--path", "/no/such/place"}, 1, "/no/such/place");
  expect_refused({"doctor", "--quick", "--file", "/no/such/file"}, 1, "/no/such/file");
  expect_refused({"doctor", "--quick", "--file", scratch_->write("small", "x")}, 1, "64.0 MiB");
  expect_refused({"doctor", "--path", ".", "--file", "x"}, 2, "--file");
  fs::remove(*scratch_ / "small");
}

TEST_F(Planner, DoctorNeedsPermission) {
  if (geteuid() == 0) GTEST_SKIP() << "skipped: root may write anywhere";
  const std::string closed = *scratch_ / "closed";
  fs::create_directory(closed);
  ::chmod(closed.c_str(), 0500);
  expect_refused({"doctor", "--quick", "--path", closed}, 1, "Permission denied");
  fs::remove(closed);
}

TEST_F(Planner, DoctorDoesNotFillADisk) {
  const std::string tiny = *scratch_ / "tiny";
  fs::create_directory(tiny);
  if (::mount("none", tiny.c_str(), "tmpfs", 0, "size=4m") != 0) {
    fs::remove(tiny);
    GTEST_SKIP() << "skipped: no permission to mount a tmpfs";
  }
  expect_refused({"doctor", "--quick", "--path", tiny}, 1, "4.00 MiB free");
  EXPECT_TRUE(fs::is_empty(tiny));
  ::umount(tiny.c_str());
  fs::remove(tiny);
}

TEST_F(Planner, PlanPredictsOverBudgets) {
  SLUICE_REQUIRE_SHARED();
  const Outcome outcome = sluice({"plan", demo(), "--ctx", "512", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["here"], true);
  EXPECT_EQ(report["context"], 512);
  EXPECT_EQ(report["architecture"], "qwen3_moe");
  ASSERT_GE(report["budgets"].size(), 4U);
  double before = 0;
  bool has_knee = false;
  for (const Json& row : report["budgets"]) {
    ASSERT_EQ(row["fits"], true) << row;
    EXPECT_GE(double(row["decode_tok_s"]), before) << row;
    before = row["decode_tok_s"];
    for (const char* key : {"load_s", "first_token_s", "prefill_tok_s"})
      EXPECT_GT(double(row[key]), 0) << key;
    EXPECT_GT(double(row["first_token_s"]), double(row["load_s"]));
    has_knee |= bool(row["knee"]);
  }
  EXPECT_TRUE(has_knee);
  EXPECT_EQ(report["budgets"].back()["disk_bytes_per_token"], 0.0);
  EXPECT_GT(double(report["budgets"].front()["disk_bytes_per_token"]), 0);
  EXPECT_GE(uint64_t(report["knee_ram_bytes"]), uint64_t(report["minimum_ram_bytes"]));
  EXPECT_LE(uint64_t(report["knee_ram_bytes"]), uint64_t(report["resident_ram_bytes"]));
  // The same division of the budget as everywhere.
  const Json inspected = Json::parse(sluice({"inspect", demo(), "--ctx", "512", "--json"}).out);
  EXPECT_EQ(report["bytes_per_token"], inspected["bytes_per_token"]);

  const Outcome text = sluice({"plan", demo(), "--ctx", "512"});
  EXPECT_NE(text.out.find("knee"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("decode tok/s"), std::string::npos) << text.out;
}

TEST_F(Planner, PlanTakesBudgetsAndTellsTooSmallOnes) {
  SLUICE_REQUIRE_SHARED();
  const Json report = Json::parse(
      sluice({"plan", demo(), "--ctx", "512", "--ram", "1M,1G,50%", "--weights", "30%,min", "--json"}).out);
  ASSERT_EQ(report["budgets"].size(), 5U);
  EXPECT_EQ(report["budgets"][0]["fits"], false);
  EXPECT_EQ(report["budgets"][1]["ram_bytes"], 1 << 30);
  EXPECT_EQ(report["budgets"][3]["name"], "weights 30%");
  EXPECT_GT(double(report["budgets"][3]["decode_tok_s"]), double(report["budgets"][4]["decode_tok_s"]));
  EXPECT_TRUE(report["knee_ram_bytes"].is_null());
  // Uniform routing hits less than text does.
  const Json uniform = Json::parse(
      sluice({"plan", demo(), "--ctx", "512", "--weights", "50%", "--routing", "uniform", "--json"}).out);
  const Json typical =
      Json::parse(sluice({"plan", demo(), "--ctx", "512", "--weights", "50%", "--json"}).out);
  EXPECT_LT(double(uniform["budgets"][0]["expert_hit_rate"]),
            double(typical["budgets"][0]["expert_hit_rate"]));
}

TEST_F(Planner, PlanKnowsModelsThatAreNotHere) {
  const Outcome outcome =
      sluice({"plan", "Qwen/Qwen3-30B-A3B-Instruct-2507", "--ram", "4G,16G,64G", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["here"], false);
  ASSERT_EQ(report["budgets"].size(), 3U);
  EXPECT_LT(double(report["budgets"][0]["decode_tok_s"]), double(report["budgets"][1]["decode_tok_s"]));
  EXPECT_EQ(report["budgets"][2]["disk_bytes_per_token"], 0.0);
  EXPECT_NE(report["budgets"][2]["bound"], "ssd");
  // Another file of it.
  const Json large = Json::parse(sluice({"plan", "llama 3.2 1b instruct:BF16", "--ram", "8G", "--json"}).out);
  const Json small = Json::parse(sluice({"plan", "llama 3.2 1b instruct", "--ram", "8G", "--json"}).out);
  EXPECT_GT(uint64_t(large["file_bytes"]), 3 * uint64_t(small["file_bytes"]));
}

TEST_F(Planner, PlanRefusesWhatItCannotKnow) {
  expect_refused({"plan", "Qwen/Qwen3-8"}, 1, "Qwen/Qwen3-8B");
  expect_refused({"plan", "Qwen/Qwen3-8"}, 1, "not fetched from the network yet");
  expect_refused({"plan", "nobody/has-this-one-0"}, 1, "sluice browse");
  expect_refused({"plan", "gpt-oss-20b"}, 1, "gpt_oss is not supported yet");
  expect_refused({"plan", "Qwen3 8B:q2_k"}, 1, "q4_k_m, q8_0, bf16");
  expect_refused({"plan", "demo", "--ram", "lots"}, 2, "--ram");
  expect_refused({"plan", "demo", "--ctx", "-1"}, 2, "--ctx");
  expect_refused({"plan", "demo", "--routing", "random"}, 2, "--routing");
}

TEST_F(Planner, PlanMeasuresWhereNothingIsKnown) {
  const std::string kept = profile() + ".kept";
  fs::rename(profile(), kept);
  const Outcome outcome = sluice({"plan", "Llama 3.2 1B Instruct", "--ram", "2G"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("measuring it quickly"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.out.find("measured quickly just now"), std::string::npos) << outcome.out;
  EXPECT_TRUE(fs::exists(profile()));
  // A damaged profile is as good as none.
  { std::ofstream(profile()) << "{]"; }
  EXPECT_NE(sluice({"plan", "Llama 3.2 1B Instruct", "--ram", "2G"}).err.find("measuring it quickly"),
            std::string::npos);
  fs::rename(kept, profile());
}

TEST_F(Planner, BrowseJudgesTheCatalogue) {
  const Outcome outcome = sluice({"browse", "--all", "--json", "--ram", "6G"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json list = Json::parse(outcome.out);
  EXPECT_GE(list.size(), 25U);
  std::map<std::string, int> verdicts;
  for (const Json& model : list) {
    ++verdicts[model["verdict"]];
    EXPECT_EQ(model["supported"], model["verdict"] != "unsupported");
    const bool runs = model["verdict"] == "fits" || model["verdict"] == "streams";
    EXPECT_EQ(model["decode_tok_s"].is_number(), runs) << model["name"];
    if (model["verdict"] == "too large") {
      EXPECT_GT(uint64_t(model["minimum_ram_bytes"]), uint64_t{6} << 30);
    }
    EXPECT_EQ(model["here"], false);
  }
  for (const char* verdict : {"fits", "streams", "unsupported"}) EXPECT_GT(verdicts[verdict], 0) << verdict;

  const Json fewer = Json::parse(sluice({"browse", "--json", "--ram", "6G", "--sort", "speed"}).out);
  EXPECT_EQ(fewer.size(), static_cast<size_t>(verdicts["fits"] + verdicts["streams"]));
  for (size_t i = 1; i < fewer.size(); ++i)
    EXPECT_GE(double(fewer[i - 1]["decode_tok_s"]), double(fewer[i]["decode_tok_s"]));
}

TEST_F(Planner, BrowseIsAPlainTableWithoutATerminal) {
  const Outcome outcome = sluice({"browse", "--ram", "2G", "--sort", "name"}, "1\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("Llama 3.2 1B Instruct"), std::string::npos);
  EXPECT_NE(outcome.out.find("more with --all"), std::string::npos);
  EXPECT_EQ(outcome.out.find("number of a model"), std::string::npos);
  EXPECT_EQ(outcome.out.find("\x1b"), std::string::npos);
  expect_refused({"browse", "--sort", "colour"}, 2, "--sort");
  expect_refused({"browse", "--ram", "-1"}, 2, "--ram");
}

}  // namespace
}  // namespace sluice
