// What the monitor tells must be what the engine counts, also while it works.
#include "engine/engine_monitor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "sluice/engine.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using Track = Timeline::Track;

TEST(SliceTimeline, DividesComputingWaitingAndReading) {
  Timeline timeline(0, 16);
  timeline.add(Track::kWait, "waits", 1200, 1300, 0);  // inside of computing
  timeline.add(Track::kCompute, "down", 1000, 1400, 0);
  timeline.add(Track::kWait, "waits", 1500, 1600, 0);  // between
  timeline.add(Track::kReads, "read", 900, 1250, 64);  // began before
  timeline.add(Track::kReads, "read", 1000, 1500, 64);
  const std::vector<MonitorSlice> slices = slice_timeline(timeline, 1000, 1800, 8);
  ASSERT_EQ(slices.size(), 8U);
  const double computing[] = {1, 1, 0, 1, 0, 0, 0, 0}, waiting[] = {0, 0, 1, 0, 0, 1, 0, 0};
  const double reads[] = {2, 2, 1.5, 1, 1, 0, 0, 0};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_DOUBLE_EQ(slices[i].computing, computing[i]) << i;
    EXPECT_DOUBLE_EQ(slices[i].waiting, waiting[i]) << i;
    EXPECT_DOUBLE_EQ(slices[i].reads_in_flight, reads[i]) << i;
  }
  EXPECT_TRUE(slice_timeline(timeline, 1000, 1800, 0).empty());
  EXPECT_TRUE(slice_timeline(timeline, 1000, 1000, 8).empty());
}

TEST(SliceTimeline, SaysWhereReadsAreForgotten) {
  Timeline timeline(0, 2);
  for (uint64_t i = 0; i < 4; ++i) timeline.add(Track::kReads, "read", 1000 + i * 100, 1100 + i * 100, 1);
  const std::vector<MonitorSlice> slices = slice_timeline(timeline, 1000, 1400, 4);
  EXPECT_LT(slices[0].reads_in_flight, 0);
  EXPECT_LT(slices[1].reads_in_flight, 0);
  EXPECT_DOUBLE_EQ(slices[2].reads_in_flight, 1);
  EXPECT_DOUBLE_EQ(slices[3].reads_in_flight, 1);
}

TEST(PassLog, TellsWhatEachPassAddedAndForgetsOldOnes) {
  PassLog log;
  StoreStats stats;
  for (uint64_t i = 1; i <= kMonitorPasses + 3; ++i) {
    stats.hits += i;
    stats.misses += 2;
    stats.bytes_read += 10 * i;
    log.add(0, 1, 0.5, stats, {.decode_tokens = i, .decode_seconds = 0.5 * static_cast<double>(i)});
  }
  MonitorSnapshot snapshot;
  log.tell(snapshot);
  ASSERT_EQ(snapshot.passes.size(), kMonitorPasses);
  EXPECT_EQ(snapshot.passes[0].number, 4U);
  EXPECT_EQ(snapshot.last()->number, kMonitorPasses + 3);
  EXPECT_EQ(snapshot.last()->hits, kMonitorPasses + 3);
  EXPECT_EQ(snapshot.last()->misses, 2U);
  EXPECT_EQ(snapshot.last()->bytes_read, 10 * (kMonitorPasses + 3));
  EXPECT_EQ(snapshot.n_decoded, kMonitorPasses + 3);
}

EngineOptions watched(const std::string& model, const std::string& weights) {
  EngineOptions options;
  options.model = model;
  options.weights = weights;
  options.n_threads = 2;
  options.monitor = true;
  return options;
}

// Text of a few tokens, and another thread that looks all the time.
void run_and_watch(Engine& engine, int64_t n_tokens) {
  std::atomic<bool> ends = false;
  uint64_t last = 0, n_looks = 0;
  std::thread watcher([&] {
    while (!ends) {
      const MonitorSnapshot now = engine.monitor(40);
      EXPECT_GE(now.hits + now.misses, last);
      last = now.hits + now.misses;
      ++n_looks;
    }
  });
  const std::unique_ptr<Session> session = engine.new_session();
  GenerateOptions options;
  options.max_tokens = n_tokens;
  options.ignore_eos = true;
  session->append(engine.tokenize("Once upon a time there was"), options);
  Session* const sessions[] = {session.get()};
  while (engine.step(sessions) > 0) {
  }
  ends = true;
  watcher.join();
  EXPECT_GT(n_looks, 0U);
}

TEST(EngineMonitor, TellsWhatTheEngineCounts) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = Engine::open(watched(test::shared_path("demo-model"), "40%"));
  engine->load(200);
  EXPECT_EQ(engine->monitor(10).last(), nullptr);
  run_and_watch(*engine, 100);

  const MonitorSnapshot now = engine->monitor(50);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(now.hits, stats.hits);
  EXPECT_EQ(now.misses, stats.misses);
  EXPECT_GT(now.misses, 0U);
  EXPECT_EQ(now.evictions, stats.evictions);
  EXPECT_EQ(now.n_decoded, stats.decode_tokens);
  EXPECT_EQ(now.n_prompt_tokens, stats.prefill_tokens);
  EXPECT_DOUBLE_EQ(now.decode_seconds, stats.decode_seconds);
  EXPECT_EQ(now.layer, -1);

  ASSERT_EQ(now.layers.size(), static_cast<size_t>(engine->info().n_layers));
  uint64_t hits = 0, misses = 0, n_here = 0;
  double seconds = 0, stalls = 0;
  for (const MonitorLayer& layer : now.layers) {
    EXPECT_TRUE(layer.has_experts);
    ASSERT_EQ(layer.parts.size(), static_cast<size_t>(engine->info().n_experts));
    hits += layer.hits;
    misses += layer.misses;
    seconds += layer.seconds;
    stalls += layer.stall_seconds;
    int64_t n_last = 0;
    for (const MonitorPart& part : layer.parts) {
      n_here += part.is_here;
      n_last += part.passes_since_use == 0;
    }
    EXPECT_EQ(n_last, engine->info().n_experts_per_token);  // of the one token of the last pass
  }
  EXPECT_EQ(hits, now.hits);
  EXPECT_EQ(misses, now.misses);
  EXPECT_LE(seconds, stats.prefill_seconds + stats.decode_seconds);
  EXPECT_GT(seconds, 0.2 * (stats.prefill_seconds + stats.decode_seconds));
  EXPECT_LE(stalls, stats.stall_seconds + 1e-6);
  EXPECT_GT(n_here, 0U);
  EXPECT_LT(n_here, now.layers.size() * static_cast<size_t>(engine->info().n_experts));
  EXPECT_LE(n_here * engine->info().expert_bytes, now.cache_bytes);

  uint64_t passes_hits = 0, passes_misses = 0;
  for (const MonitorPass& pass : now.passes) {
    passes_hits += pass.hits;
    passes_misses += pass.misses;
  }
  EXPECT_EQ(now.passes.size(), 100U);
  EXPECT_EQ(passes_hits, now.hits);
  EXPECT_EQ(passes_misses, now.misses);

  ASSERT_EQ(now.slices.size(), 50U);
  double computing = 0;
  for (const MonitorSlice& slice : now.slices) computing += slice.computing / 50;
  EXPECT_GT(computing, 0.05);
  EXPECT_LE(computing, 1);
}

TEST(EngineMonitor, ShowsWhichBlocksOfADenseModelAreThere) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine =
      Engine::open(watched(test::shared_path("data/derived/stories260K/stories260K-F32.gguf"), "min"));
  engine->load(100);
  run_and_watch(*engine, 30);
  const MonitorSnapshot now = engine->monitor(10);
  EXPECT_GT(now.streamed_bytes, 0U);
  EXPECT_GT(now.bytes_read, 0U);
  size_t n_parts = 0, n_here = 0;
  for (const MonitorLayer& layer : now.layers) {
    EXPECT_FALSE(layer.has_experts);
    EXPECT_FALSE(layer.parts.empty());
    for (const MonitorPart& part : layer.parts) {
      EXPECT_EQ(part.passes_since_use, 0U);
      ++n_parts;
      n_here += part.is_here;
    }
  }
  EXPECT_GT(n_here, 0U);
  EXPECT_LT(n_here, n_parts);
}

}  // namespace
}  // namespace sluice
