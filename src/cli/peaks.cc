#include "cli/peaks.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "base/align.h"
#include "encoding/encoding.h"
#include "kernels/kernels.h"
#include "platform/async_reader.h"
#include "platform/clock.h"
#include "platform/memory_info.h"
#include "platform/thread_pool.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Eight sums side by side, so that loads and not additions are the limit.
uint64_t sum_words(const uint64_t* words, size_t n) {
  using Words = uint64_t __attribute__((vector_size(16), aligned(8), may_alias));
  constexpr size_t kSums = 8;
  Words sums[kSums] = {};
  const auto* vectors = reinterpret_cast<const Words*>(words);
  for (size_t i = 0; i + kSums <= n / 2; i += kSums)
    for (size_t k = 0; k < kSums; ++k) sums[k] += vectors[i + k];
  uint64_t total = 0;
  for (const Words& sum : sums) total += sum[0] + sum[1];
  return total;
}

}  // namespace

double measure_memory_bandwidth(int n_threads, uint64_t buffer_bytes) {
  const uint64_t n_pieces = std::max<uint64_t>(buffer_bytes / kMiB, 1);
  const PageBuffer buffer(n_pieces * kMiB);
  auto* const words = reinterpret_cast<uint64_t*>(buffer.data());
  const size_t words_per_piece = kMiB / sizeof(uint64_t);
  ThreadPool pool(n_threads);
  pool.run(static_cast<int64_t>(n_pieces), [&](int64_t piece, int) {  // pages of their own, not the zero page
    std::fill_n(words + static_cast<size_t>(piece) * words_per_piece, words_per_piece, 1);
  });
  std::atomic<uint64_t> total = 0;
  double best = 0;
  for (int pass = 0; pass < 7; ++pass) {
    const double start = monotonic_seconds();
    pool.run(static_cast<int64_t>(n_pieces), [&](int64_t piece, int) {
      total += sum_words(words + static_cast<size_t>(piece) * words_per_piece, words_per_piece);
    });
    best = std::max(best, static_cast<double>(n_pieces * kMiB) / (monotonic_seconds() - start));
  }
  return total == 0 ? 0 : best;  // the sum is used, so that the loop is not left out
}

double measure_disk_bandwidth(const std::vector<std::string>& files) {
  constexpr size_t kDepth = 16;
  constexpr uint64_t kReadBytes = kMiB;
  constexpr double kSeconds = 1.0;
  const std::unique_ptr<AsyncReader> reader = make_reader(kDepth);
  const PageBuffer buffer(kDepth * kReadBytes);
  uint64_t bytes = 0;
  const double start = monotonic_seconds();
  for (const std::string& path : files) {
    const std::shared_ptr<const File> file = File::open(path, IoMode::kDirect);
    if (file->mode() != IoMode::kDirect) return 0;
    const uint64_t n_reads = file->size() / kReadBytes;
    uint64_t n_submitted = 0;
    uint64_t n_done = 0;
    std::array<ReadCompletion, kDepth> done;
    const auto submit = [&](uint64_t slot) {
      const ReadRequest request = {file.get(), n_submitted * kReadBytes, buffer.data() + slot * kReadBytes,
                                   static_cast<uint32_t>(kReadBytes), slot};
      n_submitted += reader->submit(std::span(&request, 1));
    };
    const auto time_is_up = [&] { return monotonic_seconds() - start > kSeconds; };
    for (uint64_t slot = 0; slot < std::min<uint64_t>(kDepth, n_reads); ++slot) submit(slot);
    while (n_done < n_submitted) {
      const size_t n = reader->collect(done, /*block=*/true);
      n_done += n;
      bytes += n * kReadBytes;
      for (size_t i = 0; i < n; ++i)
        if (n_submitted < n_reads && !time_is_up()) submit(done[i].tag);
    }
    if (time_is_up()) break;
  }
  return static_cast<double>(bytes) / (monotonic_seconds() - start);
}

double measure_int8_peak(int n_threads, const std::string& isa) {
  constexpr int64_t kRounds = 20'000;
  constexpr int64_t kTasks = 16;
  constexpr double kSeconds = 0.5;
  ThreadPool pool(n_threads);
  const KernelTable& table = kernel_table(isa);
  double best = 0;
  const double begin = monotonic_seconds();
  while (monotonic_seconds() - begin < kSeconds) {
    std::atomic<int64_t> operations = 0;
    const double start = monotonic_seconds();
    pool.run(kTasks * n_threads, [&](int64_t, int) { operations += int8_rounds(table, kRounds); });
    best = std::max(best, static_cast<double>(operations) / (monotonic_seconds() - start));
  }
  return best;
}

}  // namespace sluice
