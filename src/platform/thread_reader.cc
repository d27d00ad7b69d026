// Asynchronous reads by threads that block in pread.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "platform/async_reader.h"

namespace sluice {
namespace {

constexpr size_t kMaxThreads = 32;

class ThreadReader final : public AsyncReader {
 public:
  explicit ThreadReader(size_t depth) : depth_(std::max<size_t>(depth, 1)) {
    const size_t n_threads = std::min(depth_, kMaxThreads);
    for (size_t i = 0; i < n_threads; ++i) threads_.emplace_back([this] { work(); });
  }

  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      queued_.clear();
    }
    work_came_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  size_t submit(std::span<const ReadRequest> requests) override {
    const size_t n = std::min(requests.size(), depth_ - in_flight_);
    if (n == 0) return 0;
    {
      const std::lock_guard lock(mutex_);
      queued_.insert(queued_.end(), requests.begin(), requests.begin() + static_cast<ptrdiff_t>(n));
    }
    in_flight_ += n;
    for (size_t i = 0; i < n; ++i) work_came_.notify_one();
    return n;
  }

  size_t collect(std::span<ReadCompletion> out, bool block) override {
    if (in_flight_ == 0 || out.empty()) return 0;
    std::unique_lock lock(mutex_);
    if (block) {
      read_ended_.wait(lock, [this] { return woken_ || !ended_.empty(); });
      woken_ = false;
    }
    const size_t n = std::min(out.size(), ended_.size());
    std::copy_n(ended_.begin(), n, out.begin());
    ended_.erase(ended_.begin(), ended_.begin() + static_cast<ptrdiff_t>(n));
    in_flight_ -= n;
    return n;
  }

  void wake() noexcept override {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    read_ended_.notify_one();
  }

  size_t in_flight() const noexcept override { return in_flight_; }
  const char* name() const noexcept override { return "threads"; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_came_.wait(lock, [this] { return stop_ || !queued_.empty(); });
      if (stop_) return;
      const ReadRequest request = queued_.front();
      queued_.pop_front();
      lock.unlock();
      const ReadCompletion completion = {request.tag, read_fully(request)};
      lock.lock();
      ended_.push_back(completion);
      read_ended_.notify_one();
    }
  }

  static int read_fully(const ReadRequest& request) {
    ReadProgress progress = {request};
    int error = 0;
    int64_t result;
    do {
      result = ::pread(request.file->descriptor(), request.data + progress.done,
                       request.bytes - progress.done, static_cast<off_t>(request.offset + progress.done));
      if (result < 0) result = -errno;
    } while (!progress.advance(result, &error));
    return error;
  }

  const size_t depth_;
  size_t in_flight_ = 0;  // of the submitting thread
  std::mutex mutex_;      // what follows
  std::condition_variable work_came_;
  std::condition_variable read_ended_;
  std::deque<ReadRequest> queued_;
  std::deque<ReadCompletion> ended_;
  bool woken_ = false;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<AsyncReader> make_thread_reader(size_t depth) {
  return std::make_unique<ThreadReader>(depth);
}

}  // namespace sluice
