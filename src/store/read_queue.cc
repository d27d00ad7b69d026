#include "store/read_queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "store/plan.h"

namespace sluice {

ReadQueue::ReadQueue(std::vector<std::shared_ptr<const File>> files, std::unique_ptr<AsyncReader> reader,
                     size_t max_reads, uint64_t max_bytes)
    : files_(std::move(files)),
      reader_(std::move(reader)),
      reader_name_(reader_->name()),
      max_bytes_(max_bytes),
      pieces_(max_reads) {
  for (size_t i = max_reads; i-- > 0;) free_pieces_.push_back(static_cast<uint32_t>(i));
  thread_ = std::thread([this] { read_loop(); });
}

ReadQueue::~ReadQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_came_.notify_one();
  reader_->wake();
  thread_.join();
}

void ReadQueue::stage(Transfer& transfer, Priority priority) {
  transfer.state = Transfer::State::kReading;
  transfer.next_segment = 0;
  transfer.next_byte = 0;
  transfer.bytes_asked = 0;
  transfer.failure = {};
  ++n_reading_;
  staged_.push_back({&transfer, priority});
}

void ReadQueue::flush() {
  if (staged_.empty()) return;
  bool must_wake;
  {
    const std::lock_guard lock(mutex_);
    for (const Staged& staged : staged_) {
      staged.transfer->is_queued = true;
      queue(staged.priority).push_back(staged.transfer);
    }
    must_wake = std::exchange(can_take_more_, false);
  }
  staged_.clear();
  work_came_.notify_one();
  if (must_wake) reader_->wake();
}

void ReadQueue::promote(Transfer& transfer) {
  flush();
  const std::lock_guard lock(mutex_);
  if (!transfer.is_queued) return;
  for (Priority lower : {Priority::kAhead, Priority::kPrefetch}) {
    auto& from = queue(lower);
    const auto found = std::find(from.begin(), from.end(), &transfer);
    if (found == from.end()) continue;
    from.erase(found);
    queue(Priority::kDemand).push_back(&transfer);
    return;
  }
}

void ReadQueue::cancel(Transfer& transfer) {
  flush();
  const std::lock_guard lock(mutex_);
  if (!transfer.is_queued) return;  // all of it is in flight or has ended
  for (auto& from : queues_) from.erase(std::remove(from.begin(), from.end(), &transfer), from.end());
  transfer.is_queued = false;
  transfer.failure.error = ECANCELED;
  if (transfer.n_in_flight > 0) return;
  transfer.state = Transfer::State::kFailed;
  --n_reading_;
}

void ReadQueue::take_ended(std::vector<Transfer*>& ended, bool block) {
  ended.clear();
  flush();
  if (n_reading_ == 0 || (!block && !has_ended_.load(std::memory_order_acquire))) return;
  {
    std::unique_lock lock(mutex_);
    if (block) transfer_ended_.wait(lock, [this] { return !ended_.empty(); });
    std::swap(ended, ended_);
    has_ended_.store(false, std::memory_order_release);
  }
  n_reading_ -= ended.size();
  for (Transfer* transfer : ended) {
    transfer->state = transfer->failure.error == 0 ? Transfer::State::kArrived : Transfer::State::kFailed;
  }
}

bool ReadQueue::demand_is_waiting() {
  const std::lock_guard lock(mutex_);
  return !queue(Priority::kDemand).empty();
}

bool ReadQueue::has_queued() const {
  return std::any_of(queues_.begin(), queues_.end(), [](const auto& q) { return !q.empty(); });
}

void ReadQueue::read_loop() {
  std::vector<ReadRequest> requests;
  std::vector<ReadCompletion> completions(pieces_.size());
  std::unique_lock lock(mutex_);
  while (true) {
    if (reader_->in_flight() == 0) {
      work_came_.wait(lock, [this] { return stop_ || has_queued(); });
    }
    if (stop_) return;
    cut_pieces(requests);
    can_take_more_ = has_room();
    lock.unlock();
    std::span<const ReadRequest> rest = requests;
    size_t n = 0;
    do {
      rest = rest.subspan(reader_->submit(rest));
      n += reader_->collect(std::span(completions).subspan(n), true);
    } while (!rest.empty());
    lock.lock();
    can_take_more_ = false;
    for (size_t i = 0; i < n; ++i) settle(completions[i]);
  }
}

// As many pieces as may be in flight, of the most urgent transfers.
void ReadQueue::cut_pieces(std::vector<ReadRequest>& requests) {
  requests.clear();
  for (auto& waiting : queues_) {
    while (!waiting.empty() && has_room()) {
      Transfer& transfer = *waiting.front();
      ReadRequest request;
      transfer.is_queued = cut_piece(transfer, request);
      if (!transfer.is_queued) waiting.pop_front();
      requests.push_back(request);
    }
  }
}

bool ReadQueue::has_room() const {
  const bool has_bytes = bytes_in_flight_ == 0 || bytes_in_flight_ + kMaxReadBytes <= max_bytes_;
  return has_bytes && !free_pieces_.empty();
}

// The next piece; false if it was the last.
bool ReadQueue::cut_piece(Transfer& transfer, ReadRequest& request) {
  const Segment& segment = transfer.layout->segments[transfer.next_segment];
  const uint64_t bytes = std::min(segment.bytes - transfer.next_byte, kMaxReadBytes);
  const uint64_t offset = segment.offset + transfer.next_byte;
  const uint32_t piece = free_pieces_.back();
  free_pieces_.pop_back();
  pieces_[piece] = {&transfer, segment.file, offset, bytes};
  bytes_in_flight_ += bytes;
  request = {files_[segment.file].get(), offset, transfer.base + segment.at + transfer.next_byte,
             static_cast<uint32_t>(bytes), piece};

  ++transfer.n_in_flight;
  transfer.bytes_asked += bytes;
  bytes_read_.fetch_add(bytes, std::memory_order_relaxed);
  reads_.fetch_add(1, std::memory_order_relaxed);
  transfer.next_byte += bytes;
  if (transfer.next_byte == segment.bytes) {
    ++transfer.next_segment;
    transfer.next_byte = 0;
  }
  return transfer.next_segment < transfer.layout->segments.size();
}

void ReadQueue::settle(const ReadCompletion& completion) {
  const Piece piece = pieces_[completion.tag];
  free_pieces_.push_back(static_cast<uint32_t>(completion.tag));
  bytes_in_flight_ -= piece.bytes;
  Transfer& transfer = *piece.transfer;
  --transfer.n_in_flight;
  if (completion.error != 0 && transfer.failure.error == 0) {
    transfer.failure = {completion.error, piece.file, piece.offset};
    if (transfer.is_queued) {  // the rest is of no use
      for (auto& from : queues_) from.erase(std::remove(from.begin(), from.end(), &transfer), from.end());
      transfer.is_queued = false;
    }
  }
  if (transfer.n_in_flight > 0 || transfer.is_queued) return;
  ended_.push_back(&transfer);
  has_ended_.store(true, std::memory_order_release);
  transfer_ended_.notify_one();
}

}  // namespace sluice
