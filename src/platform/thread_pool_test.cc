#include "platform/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace sluice {
namespace {

using namespace std::chrono_literals;

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    EXPECT_EQ(pool.size(), n_threads);
    for (int64_t n_tasks : {0, 1, 2, 7, 1000}) {
      std::vector<int> count(static_cast<size_t>(n_tasks));
      pool.run(n_tasks, [&](int64_t task, int worker) {
        ++count[static_cast<size_t>(task)];  // not atomic: visible to the caller by contract
        EXPECT_GE(worker, 0);
        EXPECT_LT(worker, n_threads);
      });
      EXPECT_EQ(std::accumulate(count.begin(), count.end(), 0), n_tasks);
      for (int c : count) EXPECT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, HandsOutTasksInAscendingOrder) {
  ThreadPool pool(3);
  std::vector<std::vector<int64_t>> taken(3);
  pool.run(10000, [&](int64_t task, int worker) { taken[static_cast<size_t>(worker)].push_back(task); });
  for (const auto& tasks : taken) EXPECT_TRUE(std::is_sorted(tasks.begin(), tasks.end()));
}

// Regions follow each other as fast as they can, so that late workers meet newer regions: each must only ever
// see the sum of its own region.
TEST(ThreadPool, NeverMixesRegions) {
  ThreadPool pool(4);
  for (int64_t region = 0; region < 20000; ++region) {
    const int64_t n_tasks = 2 + region % 5;
    std::atomic<int64_t> sum = 0;
    pool.run(n_tasks, [&sum, region](int64_t, int) { sum += region; });
    ASSERT_EQ(sum, n_tasks * region);
  }
}

TEST(ThreadPool, WakesParkedWorkers) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(1ms);  // far longer than workers spin
    std::atomic<int> meeting = 0;
    // Both tasks must run at the same time to end.
    pool.run(2, [&](int64_t, int) {
      ++meeting;
      while (meeting < 2) std::this_thread::yield();
    });
  }
}

TEST(ThreadPool, CallerSleepsThroughALongTask) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> done = 0;
    pool.run(2, [&](int64_t, int worker) {
      if (worker == 1) std::this_thread::sleep_for(1ms);
      ++done;
    });
    EXPECT_EQ(done, 2);
  }
}

TEST(ThreadPool, StartsAndStopsIdle) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);
}

}  // namespace
}  // namespace sluice
