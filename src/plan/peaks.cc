#include "plan/peaks.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/function_ref.h"
#include "base/units.h"
#include "encoding/encoding.h"
#include "kernels/kernels.h"
#include "platform/clock.h"
#include "platform/memory_info.h"
#include "platform/thread_pool.h"

namespace sluice {
namespace {

constexpr uint64_t kPieceBytes = 4 * kMiB;  // that a thread takes at once

struct ReadLoop {
  int n_streams;
  size_t prefetch_bytes;
};
constexpr ReadLoop kReadLoops[] = {{1, 0}, {1, 1024}, {4, 0}, {4, 1024}, {8, 0}, {8, 512}};

// Seconds of one pass over the buffer.
double read_once(ThreadPool& pool, const PageBuffer& buffer, const ReadLoop& loop) {
  const KernelTable& table = kernel_table();  // the widest loads, whatever --isa says
  const double start = monotonic_seconds();
  pool.run(static_cast<int64_t>(buffer.size() / kPieceBytes), [&](int64_t piece, int) {
    read_streams(table, buffer.data() + static_cast<uint64_t>(piece) * kPieceBytes,
                 kPieceBytes / static_cast<uint64_t>(loop.n_streams), loop.n_streams, loop.prefetch_bytes);
  });
  return monotonic_seconds() - start;
}

// The passes of the loops take turns: a moment in which others are busy hits them all.
ReadPeak best_loop(int n_threads, bool huge_pages, const PageBuffer& buffer, int n_passes) {
  ThreadPool pool(n_threads);
  ReadPeak best = {.n_threads = n_threads, .huge_pages = huge_pages};
  for (int pass = 0; pass < n_passes; ++pass) {
    for (const ReadLoop& loop : kReadLoops) {
      const double speed = static_cast<double>(buffer.size()) / read_once(pool, buffer, loop);
      if (speed <= best.bytes_per_second) continue;
      best.bytes_per_second = speed;
      best.n_streams = loop.n_streams;
      best.prefetch_bytes = loop.prefetch_bytes;
    }
  }
  return best;
}

// The best of so many seconds; `rounds(n)` returns the operations done.
double measure_rounds(int n_threads, double seconds, FunctionRef<int64_t(int64_t)> rounds) {
  constexpr int64_t kTasks = 16;
  constexpr double kTaskSeconds = 1e-3;
  int64_t n_rounds = 1000;
  const double trial = monotonic_seconds();
  if (rounds(n_rounds) == 0) return 0;
  n_rounds = std::max<int64_t>(
      1, static_cast<int64_t>(static_cast<double>(n_rounds) * kTaskSeconds / (monotonic_seconds() - trial)));
  ThreadPool pool(n_threads);
  double best = 0;
  const double begin = monotonic_seconds();
  while (monotonic_seconds() - begin < seconds) {
    std::atomic<int64_t> operations = 0;
    const double start = monotonic_seconds();
    pool.run(kTasks * n_threads, [&](int64_t, int) { operations += rounds(n_rounds); });
    best = std::max(best, static_cast<double>(operations) / (monotonic_seconds() - start));
  }
  return best;
}

}  // namespace

std::vector<ReadPeak> measure_reads(int n_threads, uint64_t buffer_bytes, int n_passes) {
  std::vector<ReadPeak> peaks;
  for (const bool huge : {false, true}) {
    const uint64_t huge_before = huge_page_bytes();
    const PageBuffer buffer(std::max<uint64_t>(buffer_bytes / kPieceBytes, 1) * kPieceBytes);
    ::madvise(buffer.data(), buffer.size(), huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::fill_n(buffer.data(), buffer.size(), std::byte{1});  // pages of their own, not the zero page
    if (huge && huge_page_bytes() < huge_before + buffer.size() / 10 * 9) continue;  // none to be had
    peaks.push_back(best_loop(1, huge, buffer, n_passes));
    if (n_threads > 1) peaks.push_back(best_loop(n_threads, huge, buffer, n_passes));
  }
  return peaks;
}

uint64_t read_buffer_bytes(uint64_t most) {
  uint64_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  cache = static_cast<uint64_t>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE)));
#endif
  return std::min(std::max(512 * kMiB, 3 * cache), std::max(most, kPieceBytes));
}

ArithmeticPeaks measure_arithmetic(int n_threads, const std::string& isa, double seconds_each) {
  const KernelTable& table = kernel_table(isa);
  return {.int8 = measure_rounds(n_threads, seconds_each, [&](int64_t n) { return int8_rounds(table, n); }),
          .f32 = measure_rounds(n_threads, seconds_each, [&](int64_t n) { return f32_rounds(table, n); }),
          .bf16 = measure_rounds(n_threads, seconds_each, [&](int64_t n) { return bf16_rounds(table, n); })};
}

}  // namespace sluice
