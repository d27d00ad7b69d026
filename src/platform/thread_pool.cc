// How a region runs. The caller publishes body, n_tasks and `unfinished`, then `unclaimed`. Whoever
// decrements `unclaimed` from a positive value has claimed one task of the current region, and only then
// reads the body: the region cannot end before that task does, so even a worker that slept through several
// regions never sees an older body. Whoever finishes a task decrements `unfinished`; the caller returns when
// it is zero, whether or not a worker ever woke.
#include "platform/thread_pool.h"

#include <atomic>
#include <thread>
#include <vector>

#include "base/align.h"
#include "base/check.h"
#include "platform/clock.h"

namespace sluice {
namespace {

constexpr uint64_t kSpinNs = 50'000;  // longer than the serial code between two regions of a forward pass

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Polls `ready` for kSpinNs; true as soon as it holds.
template <typename Ready>
bool spin_until(Ready ready) {
  const uint64_t deadline = monotonic_ns() + kSpinNs;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_cpu();
    }
  } while (monotonic_ns() < deadline);
  return false;
}

}  // namespace

struct ThreadPool::Impl {
  using Body = FunctionRef<void(int64_t, int)>;

  // Written by the caller between regions, read by whoever has claimed a task.
  const Body* body = nullptr;
  int64_t n_tasks = 0;

  alignas(kCacheLineBytes) std::atomic<int64_t> unclaimed = 0;  // <= 0: nothing to claim
  alignas(kCacheLineBytes) std::atomic<int64_t> unfinished = 0;
  alignas(kCacheLineBytes) std::atomic<uint32_t> started = 0;  // regions; workers park on it
  std::atomic<int> n_parked = 0;
  alignas(kCacheLineBytes) std::atomic<uint32_t> ended = 0;  // regions; the caller parks on it
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;

  void run_tasks(int worker) {
    while (unclaimed.load(std::memory_order_relaxed) > 0) {
      const int64_t left = unclaimed.fetch_sub(1, std::memory_order_acq_rel);
      if (left <= 0) return;
      (*body)(n_tasks - left, worker);
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        ended.fetch_add(1, std::memory_order_release);
        ended.notify_one();
      }
    }
  }

  void work(int worker) {
    const auto wanted = [this] { return unclaimed.load() > 0 || stop.load(); };
    while (!stop.load()) {
      run_tasks(worker);
      if (spin_until(wanted)) continue;
      // Sequentially consistent, as in start_region(): either this thread sees the new region, or the caller
      // sees it parked.
      n_parked.fetch_add(1);
      const uint32_t seen = started.load();
      if (!wanted()) started.wait(seen);
      n_parked.fetch_sub(1);
    }
  }

  void wake_workers() {
    started.fetch_add(1);
    if (n_parked.load() > 0) started.notify_all();
  }

  void wait_until_finished() {
    const auto finished = [this] { return unfinished.load(std::memory_order_acquire) == 0; };
    if (spin_until(finished)) return;
    while (true) {
      const uint32_t seen = ended.load(std::memory_order_acquire);
      if (finished()) return;
      ended.wait(seen);
    }
  }
};

ThreadPool::ThreadPool(int n_threads) : impl_(std::make_unique<Impl>()) {
  SLUICE_CHECK(n_threads >= 1, "n_threads = %d", n_threads);
  for (int worker = 1; worker < n_threads; ++worker) {
    impl_->threads.emplace_back([impl = impl_.get(), worker] { impl->work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true);
  impl_->wake_workers();
  for (std::thread& thread : impl_->threads) thread.join();
}

int ThreadPool::size() const noexcept { return static_cast<int>(impl_->threads.size()) + 1; }

void ThreadPool::run(int64_t n_tasks, FunctionRef<void(int64_t task, int worker)> body) noexcept {
  if (n_tasks <= 0) return;
  if (n_tasks == 1 || impl_->threads.empty()) {
    for (int64_t task = 0; task < n_tasks; ++task) body(task, 0);
    return;
  }
  SLUICE_DCHECK(impl_->unfinished.load() == 0, "a region is already running");
  impl_->body = &body;
  impl_->n_tasks = n_tasks;
  impl_->unfinished.store(n_tasks, std::memory_order_relaxed);
  impl_->unclaimed.store(n_tasks);
  impl_->wake_workers();
  impl_->run_tasks(0);
  impl_->wait_until_finished();
}

}  // namespace sluice
