#include "model/product_clock.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(CalmSpeeds, KnowsASpeedAfterSomeCallsOfItsKind) {
  CalmSpeeds speeds;
  for (uint64_t i = 0; i < CalmSpeeds::kLeastCalls; ++i) {
    EXPECT_FALSE(speeds.expect(Operator::kDown, 1'000'000)) << i;
    speeds.learn(Operator::kDown, 1'000'000, 50'000);
  }
  ASSERT_TRUE(speeds.expect(Operator::kDown, 1'000'000));
  EXPECT_NEAR(*speeds.expect(Operator::kDown, 1'000'000), 50'000, 1);
  EXPECT_NEAR(*speeds.expect(Operator::kDown, 800'000), 40'000, 1);  // the same power of two
  EXPECT_FALSE(speeds.expect(Operator::kDown, 100'000));             // small calls take longer per byte
  EXPECT_FALSE(speeds.expect(Operator::kGateUp, 1'000'000));
  speeds.forget();
  EXPECT_FALSE(speeds.expect(Operator::kDown, 1'000'000));
}

TEST(CalmSpeeds, FollowsTheMachineAndForgivesInterruptions) {
  CalmSpeeds speeds;
  for (int i = 0; i < 300; ++i) speeds.learn(Operator::kHead, 1'000'000, 50'000);
  speeds.learn(Operator::kHead, 1'000'000, 50'000'000);  // somebody else had the core
  EXPECT_LT(*speeds.expect(Operator::kHead, 1'000'000), 52'000);
  for (int i = 0; i < 300; ++i) speeds.learn(Operator::kHead, 1'000'000, 60'000);
  EXPECT_NEAR(*speeds.expect(Operator::kHead, 1'000'000), 60'000, 200);
}

}  // namespace
}  // namespace sluice
