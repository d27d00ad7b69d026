// An AsyncReader that misbehaves as disks do: reads come late, out of order and in parts, and some fail.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/align.h"
#include "platform/async_reader.h"

namespace sluice::test {

// Shared by the test and the reader's thread.
struct Faults {
  uint32_t seed = 1;
  int max_delay_us = 0;          // before a call collects
  bool reorder = true;           // completions are held back and returned in random order
  bool split = true;             // a read is made of two
  std::atomic<int> fail = 0;     // in 1000 reads, this many end in `error`
  std::atomic<int> error = EIO;  // errno
  std::string fail_below;  // only of files in this directory; empty: of all; set before anything is read
  std::atomic<int> stall_ms = 0;  // the next call that collects takes so much longer, once
  std::atomic<uint64_t> n_failed = 0;
};

class FaultyReader final : public AsyncReader {
 public:
  FaultyReader(std::unique_ptr<AsyncReader> inner, size_t depth, std::shared_ptr<Faults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)), random_(faults_->seed), reads_(depth) {
    for (size_t i = 0; i < depth; ++i) free_.push_back(i);
  }

  size_t submit(std::span<const ReadRequest> requests) override {
    size_t n = 0;
    for (; n < requests.size() && !free_.empty(); ++n) {
      const size_t slot = free_.back();
      free_.pop_back();
      const ReadRequest& request = requests[n];
      reads_[slot] = {request.tag, 0, 0, request.file->path().rfind(faults_->fail_below, 0) == 0};
      const uint64_t unit = request.file->mode() == IoMode::kDirect ? kPageBytes : 1;
      uint64_t first = faults_->split ? round_down(random_() % request.bytes, unit) : 0;
      // The first part must not reach the end of the file, or the second would begin behind it.
      if (request.offset + first >= request.file->size()) first = 0;
      if (first > 0) {
        push(request, 0, first, slot);
        push(request, first, request.bytes - first, slot);
      } else {
        push(request, 0, request.bytes, slot);
      }
    }
    pass_on();
    return n;
  }

  size_t collect(std::span<ReadCompletion> out, bool block) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(faults_->stall_ms.exchange(0)));
    if (faults_->max_delay_us > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % faults_->max_delay_us));
    }
    while (true) {
      ReadCompletion parts[8];
      const bool must_wait = block && held_.empty();
      const size_t n_parts = inner_->collect(parts, must_wait);
      for (size_t i = 0; i < n_parts; ++i) finish_part(parts[i]);
      pass_on();
      if (!held_.empty() || !must_wait || inner_->in_flight() == 0 || n_parts == 0) break;
    }
    if (faults_->reorder) std::shuffle(held_.begin(), held_.end(), random_);
    size_t n = std::min(out.size(), held_.size());
    if (faults_->reorder && n > 1) n = 1 + random_() % n;
    std::copy_n(held_.begin(), n, out.begin());
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(n));
    return n;
  }

  void wake() noexcept override { inner_->wake(); }
  size_t in_flight() const noexcept override { return reads_.size() - free_.size() + held_.size(); }
  const char* name() const noexcept override { return "faulty"; }

 private:
  struct Read {
    uint64_t tag;
    int parts;
    int error;
    bool may_fail;
  };

  void push(const ReadRequest& request, uint64_t begin, uint64_t bytes, size_t slot) {
    ++reads_[slot].parts;
    waiting_.push_back(
        {request.file, request.offset + begin, request.data + begin, static_cast<uint32_t>(bytes), slot});
  }

  void pass_on() {
    const size_t n = inner_->submit(waiting_);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
  }

  void finish_part(const ReadCompletion& part) {
    Read& read = reads_[part.tag];
    if (part.error != 0) read.error = part.error;
    if (--read.parts > 0) return;
    if (static_cast<int>(random_() % 1000) < faults_->fail && read.may_fail) {
      read.error = faults_->error;
      ++faults_->n_failed;
    }
    held_.push_back({read.tag, read.error});
    free_.push_back(part.tag);
  }

  std::unique_ptr<AsyncReader> inner_;
  std::shared_ptr<Faults> faults_;
  std::mt19937 random_;
  std::vector<Read> reads_;
  std::vector<size_t> free_;
  std::vector<ReadRequest> waiting_;  // parts that the inner reader has not taken yet
  std::vector<ReadCompletion> held_;  // finished, not returned yet
};

}  // namespace sluice::test
