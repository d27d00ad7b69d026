// The law that holds reads back, on machines that are formulas: time is what they say it is.
#include "store/pace_controller.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace sluice {
namespace {

constexpr double kMB = 1e6;
constexpr double kCalmSeconds = 0.25;  // of products in a pass

// Passes of a quarter of a second of arithmetic, beside which unawaited reads go at `rate` or at the limit.
struct SlowedMachine {
  double rate = 1500 * kMB;                 // bytes per second without a limit
  std::function<double(double rate)> loss;  // share of the arithmetic's speed at a rate
  double needed = 0;                        // bytes that a pass cannot do without, read unawaited
  double missed = 0;                        // and such that it waits for in any case
  double noise = 0;                         // of the arithmetic's time
  std::mt19937 random = std::mt19937(1);
  double passed = 0, stalled = 0, slowdown = 0;  // seconds so far; of the last pass

  PaceSample pass(uint64_t limit) {
    const double now = limit > 0 ? std::min(static_cast<double>(limit), rate) : rate;
    slowdown = loss(now);
    const double shake = noise * std::uniform_real_distribution<double>(-1, 1)(random);
    const double kernel = kCalmSeconds / (1 - slowdown) * (1 + shake);
    const double bytes = needed > 0 ? needed : now * kernel;
    const double stall = std::max(0.0, bytes / now - kernel) + missed / rate;
    passed += kernel + stall;
    stalled += stall;
    const auto ns = [](double seconds) { return static_cast<uint64_t>(seconds * 1e9); };
    return {.elapsed_ns = ns(kernel + stall),
            .stall_ns = ns(stall),
            .kernel_ns = ns(kernel),
            .calm_ns = ns(kCalmSeconds),
            .awaited_bytes = static_cast<uint64_t>(missed),
            .unawaited_bytes = static_cast<uint64_t>(bytes)};
  }
};

std::function<double(double)> power(double at_full, double exponent) {
  return [=](double rate) { return at_full * std::pow(rate / (1500 * kMB), exponent); };
}

TEST(PaceController, HoldsTheSlowdownWhateverItsShape) {
  for (const double exponent : {0.5, 1.0, 2.0}) {
    for (const double at_full : {0.08, 0.15, 0.4}) {
      for (const double tolerated : {0.02, 0.05, 0.07}) {
        PaceController law(tolerated);
        SlowedMachine machine{.loss = power(at_full, exponent)};
        for (int i = 0; i < 40; ++i) law.add(machine.pass(law.limit()));
        // There it is, and there it stays.
        const double settled = static_cast<double>(law.limit());
        const bool is_slowest = law.limit() == PaceController::kSlowest;
        ASSERT_GT(law.limit(), 0u) << exponent << " " << at_full << " " << tolerated;
        for (int i = 0; i < 200; ++i) {
          law.add(machine.pass(law.limit()));
          EXPECT_NEAR(static_cast<double>(law.limit()), settled, 0.01 * settled);
          EXPECT_TRUE(is_slowest || machine.slowdown <= 1.01 * tolerated);
          EXPECT_GE(machine.slowdown, 0.99 * PaceController::kLow * tolerated);
        }
        EXPECT_EQ(law.report().failures, 0u);
      }
    }
  }
}

TEST(PaceController, NeedsOneStepWhereTheLossGrowsWithTheRate) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.08, 1)};
  law.add(machine.pass(law.limit()));
  EXPECT_NEAR(static_cast<double>(law.limit()), 1500 * kMB * 5 / 8, 5 * kMB);
}

TEST(PaceController, StaysInItsBandWhereMeasuringIsNoisy) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.15, 1), .noise = 0.01};
  for (int i = 0; i < 40; ++i) law.add(machine.pass(law.limit()));
  double sum = 0;
  constexpr int kPasses = 400;
  for (int i = 0; i < kPasses; ++i) {
    law.add(machine.pass(law.limit()));
    EXPECT_GT(law.limit(), static_cast<uint64_t>(250 * kMB));  // 500 would be just tolerable
    EXPECT_LT(machine.slowdown, 0.07);
    sum += machine.slowdown;
  }
  EXPECT_LT(sum / kPasses, 0.05);
  EXPECT_GT(sum / kPasses, 0.03);
}

TEST(PaceController, IsLiftedOnceReadsDisturbNobody) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.4, 1)};
  for (int i = 0; i < 40; ++i) law.add(machine.pass(law.limit()));
  EXPECT_LT(law.limit(), static_cast<uint64_t>(200 * kMB));
  machine.loss = [](double) { return 0.0; };
  int n = 0;
  for (uint64_t last = law.limit(); law.limit() > 0 && n < 100; ++n) {
    EXPECT_GE(law.limit(), last);
    last = law.limit();
    law.add(machine.pass(last));
  }
  EXPECT_LE(n, 20);  // five seconds
  for (int i = 0; i < 100; ++i) EXPECT_EQ(law.add(machine.pass(law.limit())), 0u);
  machine.loss = power(0.4, 1);
  law.add(machine.pass(law.limit()));
  EXPECT_GT(law.limit(), 0u);  // and comes back
}

TEST(PaceController, LimitsNothingThatIsTolerated) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.049, 1)};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(law.add(machine.pass(law.limit())), 0u);
  EXPECT_EQ(law.report().limited_windows, 0u);
  EXPECT_NEAR(law.report().slowdown, 0.049, 1e-4);
}

// Waits that exceed what reads cost the arithmetic: no limit is even tried.
TEST(PaceController, LeavesReadsAloneWhereTheDriveIsTheBound) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.15, 1), .needed = 1000 * kMB};  // 0.67 s of reading, 0.3 of computing
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(law.add(machine.pass(law.limit())), 0u);
  EXPECT_EQ(law.report().io_bound_windows, law.report().windows);
  EXPECT_EQ(law.report().failures, 0u);
  // The same where demands are what is waited for.
  PaceController other(0.05);
  SlowedMachine misses{.loss = power(0.15, 1), .missed = 200 * kMB};
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(other.add(misses.pass(other.limit())), 0u);
}

// Reading takes just as long as computing: nothing is waited for, and any limit makes it so.
TEST(PaceController, GivesUpALimitThatCostsMoreThanItGivesBack) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.12, 1), .needed = 425 * kMB};
  SlowedMachine open = machine;
  constexpr int kPasses = 4000;
  for (int i = 0; i < kPasses; ++i) {
    law.add(machine.pass(law.limit()));
    open.pass(0);
  }
  EXPECT_GT(law.report().failures, 2u);
  EXPECT_LT(law.report().failures, 14u);  // after 16, 32, 64, ... 1,024 windows
  EXPECT_LT(law.report().limited_windows, kPasses / 100u);
  EXPECT_LT(machine.passed, 1.005 * open.passed);
}

TEST(PaceController, LiftsALimitWhenTheDriveBecomesTheBound) {
  PaceController law(0.05);
  SlowedMachine machine{.loss = power(0.15, 1)};
  for (int i = 0; i < 40; ++i) law.add(machine.pass(law.limit()));
  ASSERT_GT(law.limit(), 0u);
  machine.needed = 600 * kMB;
  int n = 0;
  for (; law.limit() > 0 && n < 100; ++n) law.add(machine.pass(law.limit()));
  EXPECT_LE(n, 3);
}

// Demands cannot come later: what they cost is theirs.
TEST(PaceController, HoldsNobodyBackForWhatDemandsCost) {
  PaceController law(0.05);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(law.add({.elapsed_ns = 300'000'000,
                       .kernel_ns = 280'000'000,
                       .calm_ns = 224'000'000,  // 20 % slower
                       .awaited_bytes = 80'000'000,
                       .unawaited_bytes = 20'000'000}),
              0u);
  }
  EXPECT_NEAR(law.report().lost, 0.20, 1e-6);
  EXPECT_NEAR(law.report().slowdown, 0.04, 1e-6);
}

TEST(PaceController, JudgesWindowsAndOnlyWhatIsKnown) {
  PaceController law(0.05);
  const PaceSample slow = {.elapsed_ns = PaceController::kWindowNs / 4,
                           .kernel_ns = 60'000'000,
                           .calm_ns = 40'000'000,
                           .unawaited_bytes = 50'000'000};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(law.add(slow), 0u);
  EXPECT_EQ(law.report().windows, 0u);
  EXPECT_GT(law.add(slow), 0u);
  EXPECT_EQ(law.report().windows, 1u);
  // Nothing is known of the calm speed: nothing is said to be slow.
  PaceController blind(0.05);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(blind.add({.elapsed_ns = 300'000'000, .unawaited_bytes = 400'000'000}), 0u);
  // Faster beside reads than alone, by chance: neither.
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(blind.add({.elapsed_ns = 300'000'000, .kernel_ns = 200'000'000, .calm_ns = 210'000'000}), 0u);
  EXPECT_EQ(blind.report().lost, 0);
}

}  // namespace
}  // namespace sluice
