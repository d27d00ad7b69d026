#include "platform/timeline.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace sluice {
namespace {

std::string json_of(const Timeline& timeline) {
  std::string text;
  timeline.write_json([&text](std::string_view piece) { text += piece; });
  return text;
}

TEST(Timeline, WritesSpansInMicrosecondsFromTheFirst) {
  Timeline timeline(8);
  timeline.add(Timeline::Track::kCompute, "down", 5'000, 9'500, 77);
  timeline.add(Timeline::Track::kReads, "demanded", 4'000, 6'000, 1024);
  const std::string json = json_of(timeline);
  EXPECT_NE(
      json.find(R"({"ph":"X","name":"down","pid":1,"tid":0,"ts":1.000,"dur":4.500,"args":{"bytes":77}})"),
      std::string::npos)
      << json;
  EXPECT_NE(json.find(R"("ph":"b","name":"demanded","pid":1,"tid":2,"ts":0.000,"cat":"read","id":1)"),
            std::string::npos)
      << json;
  EXPECT_NE(json.find(R"("ph":"e","name":"demanded","pid":1,"tid":2,"ts":2.000)"), std::string::npos);
  EXPECT_NE(json.find(R"("dropped_spans":0)"), std::string::npos);
}

TEST(Timeline, CountsWhatHasNoRoomFromEveryThread) {
  Timeline timeline(100);
  const auto add = [&timeline] {
    for (uint64_t i = 0; i < 100; ++i) timeline.add(Timeline::Track::kWait, "waits", i, i + 1, 0);
  };
  std::thread other(add);
  add();
  other.join();
  EXPECT_NE(json_of(timeline).find(R"("dropped_spans":100)"), std::string::npos);
}

TEST(Timeline, RemembersTheNewestOfEachTrack) {
  Timeline timeline(2, 4);
  std::vector<Timeline::Span> spans;
  EXPECT_TRUE(timeline.newest(Timeline::Track::kReads, 0, spans));
  EXPECT_TRUE(spans.empty());
  for (uint64_t i = 1; i <= 4; ++i) timeline.add(Timeline::Track::kReads, "read", i * 10, i * 10 + 5, i);
  EXPECT_TRUE(timeline.newest(Timeline::Track::kReads, 0, spans));
  EXPECT_EQ(spans.size(), 4U);
  timeline.add(Timeline::Track::kReads, "read", 50, 55, 5);
  for (uint64_t i = 0; i < 9; ++i) timeline.add(Timeline::Track::kCompute, "down", i, i + 1, 0);
  EXPECT_TRUE(timeline.newest(Timeline::Track::kReads, 35, spans));
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0].bytes, 3U);
  EXPECT_EQ(spans[2].end_ns, 55U);
  EXPECT_FALSE(timeline.newest(Timeline::Track::kReads, 15, spans));  // the first one is forgotten
  EXPECT_EQ(spans.size(), 4U);
  EXPECT_NE(json_of(timeline).find(R"("dropped_spans":12)"), std::string::npos);  // the first two are kept
}

}  // namespace
}  // namespace sluice
