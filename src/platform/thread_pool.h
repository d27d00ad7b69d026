// The engine's threads. A parallel region is many small tasks taken from one counter, so that the threads
// end together on a noisy machine; between regions workers spin for a moment and then park.
#pragma once

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace sluice {

class ThreadPool {
 public:
  // `n_threads` >= 1 counts the caller: a pool of 1 starts no thread.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept;

  // Runs body(task, worker) once for each task in [0, n_tasks), worker in [0, size()), and returns when all
  // are done; their writes are then visible to the caller. Tasks are handed out in ascending order. No task
  // waits for another, and a worker that is descheduled between tasks delays nobody: the caller returns as
  // soon as every task has run. `body` must not throw and must not call run() on the same pool.
  // One region at a time: not thread-safe.
  void run(int64_t n_tasks, FunctionRef<void(int64_t task, int worker)> body) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
