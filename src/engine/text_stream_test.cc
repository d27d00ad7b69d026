#include "engine/text_stream.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sluice {
namespace {

TEST(StopMatcher, PassesTextThroughWithoutStops) {
  StopMatcher matcher({""});
  EXPECT_FALSE(matcher.push("any text"));
  EXPECT_EQ(matcher.take(), "any text");
  EXPECT_EQ(matcher.take(), "");
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"\nUser:"});
  EXPECT_FALSE(matcher.push("fine\nUs"));
  EXPECT_EQ(matcher.take(), "fine");
  EXPECT_FALSE(matcher.push("eful"));
  EXPECT_EQ(matcher.take(), "\nUseful");
  EXPECT_FALSE(matcher.push("\nUser"));
  EXPECT_EQ(matcher.take(), "");
  EXPECT_TRUE(matcher.push(": next"));
  EXPECT_EQ(matcher.take(), "");
}

TEST(StopMatcher, ReleasesWhatIsHeldAtTheEnd) {
  StopMatcher matcher({"stop"});
  EXPECT_FALSE(matcher.push("non-sto"));
  EXPECT_EQ(matcher.take(), "non-");
  matcher.finish();
  EXPECT_EQ(matcher.take(), "sto");
}

// Whatever the pieces, the text is what lies before the first stop string that becomes complete.
TEST(StopMatcher, CutsTheSameWhateverThePieces) {
  EXPECT_TRUE(rc::check([] {
    const auto letters = rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
    const auto text = *letters;
    const auto stops = *rc::gen::container<std::vector<std::string>>(
        *rc::gen::inRange(0, 4),
        rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::element('a', 'b'))));
    size_t first_end = std::string::npos;
    for (const std::string& stop : stops)
      if (const size_t at = text.find(stop); at != std::string::npos)
        first_end = std::min(first_end, at + stop.size());
    StopMatcher matcher(stops);
    std::string got;
    bool stopped = false;
    for (size_t i = 0; i < text.size() && !stopped; ++i) {
      stopped = matcher.push(text.substr(i, 1));
      got += matcher.take();
    }
    if (!stopped) matcher.finish();
    got += matcher.take();
    RC_ASSERT(stopped == (first_end != std::string::npos));
    if (!stopped) {
      RC_ASSERT(got == text);
    } else {
      RC_ASSERT(text.substr(0, got.size()) == got);
      for (const std::string& stop : stops) RC_ASSERT(got.find(stop) == std::string::npos);
      bool follows = false;
      for (const std::string& stop : stops) follows |= text.compare(got.size(), stop.size(), stop) == 0;
      RC_ASSERT(follows);
    }
  }));
}

}  // namespace
}  // namespace sluice
