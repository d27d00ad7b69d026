#include "store/read_queue.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "platform/clock.h"
#include "store/plan.h"

namespace sluice {

namespace {

constexpr uint64_t kSpeedBytes = uint64_t{16} << 20;  // over which a copy's speed is measured
constexpr uint64_t kBusyBytes = uint64_t{1} << 20;    // in flight, that keep a drive busy
constexpr double kLeastShare = 1.0 / 64;  // of the fastest copy's reads: what never reads is never measured

}  // namespace

ReadQueue::ReadQueue(const std::vector<Files>& copies, std::unique_ptr<AsyncReader> reader, size_t max_reads,
                     uint64_t max_bytes, ReadPace pace, std::span<const std::span<std::byte>> memory)
    : reader_(std::move(reader)),
      reader_name_(reader_->name()),
      max_bytes_(max_bytes),
      pieces_(max_reads),
      pace_(std::move(pace)),
      thermal_(pace_.max_celsius) {
  std::vector<const File*> all;
  for (const Files& files : copies) {
    copies_.emplace_back().files = files;
    for (const auto& file : files) all.push_back(file.get());
  }
  registered_ = reader_->prepare(all, memory);
  limit_.set(pace_.bytes_per_s);
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
  bool must_wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (!transfer.is_queued) return;
    for (Priority lower : {Priority::kAhead, Priority::kPrefetch}) {
      auto& from = queue(lower);
      const auto found = std::find(from.begin(), from.end(), &transfer);
      if (found == from.end()) continue;
      from.erase(found);
      queue(Priority::kDemand).push_back(&transfer);
      must_wake = std::exchange(can_take_more_, false);
      break;
    }
  }
  // It may have been held back, and no longer is.
  work_came_.notify_one();
  if (must_wake) reader_->wake();
}

void ReadQueue::cancel(Transfer& transfer) {
  flush();
  const std::lock_guard lock(mutex_);
  if (!transfer.is_queued) return;  // all of it is in flight or has ended
  drop_from_queues(transfer);
  transfer.failure.error = ECANCELED;
  if (transfer.n_in_flight > 0) return;
  transfer.state = Transfer::State::kFailed;
  --n_reading_;
}

void ReadQueue::cancel_unless_begun(Transfer& transfer) {
  flush();
  const std::lock_guard lock(mutex_);
  if (!transfer.is_queued || transfer.bytes_asked > 0) return;
  drop_from_queues(transfer);
  transfer.failure.error = ECANCELED;
  transfer.state = Transfer::State::kFailed;
  --n_reading_;
}

void ReadQueue::drop_from_queues(Transfer& transfer) {
  for (auto& from : queues_) from.erase(std::remove(from.begin(), from.end(), &transfer), from.end());
  transfer.is_queued = false;
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

void ReadQueue::limit_unawaited(uint64_t bytes_per_s) {
  {
    const std::lock_guard lock(mutex_);
    if (unawaited_limit_.bytes_per_s() == bytes_per_s) return;
    unawaited_limit_.set(bytes_per_s);
  }
  work_came_.notify_one();
}

void ReadQueue::wait_ended() {
  std::unique_lock lock(mutex_);
  transfer_ended_.wait(lock, [this] { return !ended_.empty(); });
}

void ReadQueue::note_in(Timeline* timeline) {
  const std::lock_guard lock(mutex_);
  timeline_ = timeline;
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
    while (!stop_ && reader_->in_flight() == 0 && retries_.empty()) {
      if (!has_queued()) {
        work_came_.wait(lock);
        continue;
      }
      const bool has_demand = !queue(Priority::kDemand).empty();
      const uint64_t ns = wait_ns(has_demand ? Priority::kDemand : Priority::kAhead);
      if (ns == 0) break;
      work_came_.wait_for(lock, std::chrono::nanoseconds(ns));
    }
    if (stop_) return;
    if (pace_.celsius) look_at_temperature(lock);
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
  for (const uint32_t piece : retries_) requests.push_back(ask(piece));
  retries_.clear();
  for (const Priority priority : {Priority::kDemand, Priority::kAhead, Priority::kPrefetch}) {
    auto& waiting = queue(priority);
    while (!waiting.empty() && has_room() && wait_ns(priority) == 0) {
      Transfer& transfer = *waiting.front();
      const bool is_begun = transfer.bytes_asked > 0;
      if (priority == Priority::kPrefetch && !is_begun && bytes_in_flight_ > kBusyBytes) break;
      ReadRequest request;
      transfer.is_queued = cut_piece(transfer, request);
      if (timeline_ != nullptr) {
        static constexpr const char* kWhy[] = {"demanded", "read ahead", "prefetched"};
        pieces_[request.tag].why = kWhy[static_cast<size_t>(priority)];
        pieces_[request.tag].asked_ns = monotonic_ns();
      }
      if (!transfer.is_queued) waiting.pop_front();
      if (priority != Priority::kDemand) {
        unawaited_limit_.take(request.bytes);
        unawaited_bytes_.fetch_add(request.bytes, std::memory_order_relaxed);
      }
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
  std::byte* const data = transfer.base + segment.at + transfer.next_byte;
  pieces_[piece] = {&transfer, segment.file, offset, bytes, data, choose_copy(bytes)};
  bytes_in_flight_ += bytes;
  request = ask(piece);

  ++transfer.n_in_flight;
  transfer.bytes_asked += bytes;
  transfer.next_byte += bytes;
  if (transfer.next_byte == segment.bytes) {
    ++transfer.next_segment;
    transfer.next_byte = 0;
  }
  return transfer.next_segment < transfer.layout->segments.size();
}

// Until the next piece of that urgency may be asked for; 0: now.
uint64_t ReadQueue::wait_ns(Priority priority) {
  const bool is_demand = priority == Priority::kDemand;
  if (limit_.bytes_per_s() == 0 && (is_demand || unawaited_limit_.bytes_per_s() == 0)) return 0;
  const uint64_t now = monotonic_ns();
  return is_demand ? limit_.wait_ns(now) : std::max(limit_.wait_ns(now), unawaited_limit_.wait_ns(now));
}

// The request for a piece from its copy.
ReadRequest ReadQueue::ask(uint32_t index) {
  const Piece& piece = pieces_[index];
  Copy& copy = copies_[piece.copy];
  if (copy.in_flight == 0) copy.last_ns = monotonic_ns();
  copy.in_flight += piece.bytes;
  copy.total.fetch_add(piece.bytes, std::memory_order_relaxed);
  limit_.take(piece.bytes);
  bytes_read_.fetch_add(piece.bytes, std::memory_order_relaxed);
  reads_.fetch_add(1, std::memory_order_relaxed);
  return {copy.files[piece.file].get(), piece.offset, piece.data, static_cast<uint32_t>(piece.bytes), index};
}

// In turns, in proportion to the speeds that were measured; equal turns until they all are.
size_t ReadQueue::choose_copy(uint64_t bytes) {
  if (copies_.size() == 1) return 0;
  double fastest = 0;
  bool all_known = true;
  for (const Copy& copy : copies_) {
    fastest = std::max(fastest, copy.speed);
    all_known &= copy.speed > 0 || copy.error != 0;
  }
  size_t best = 0;
  double earliest = 0;
  for (size_t c = 0; c < copies_.size(); ++c) {
    const Copy& copy = copies_[c];
    if (copy.error != 0) continue;
    const double share = all_known ? std::max(copy.speed / fastest, kLeastShare) : 1.0;
    const double turn = copy.turn + static_cast<double>(bytes) / share;
    if (c > 0 && turn >= earliest) continue;
    best = c;
    earliest = turn;
  }
  copies_[best].turn = earliest;
  return best;
}

void ReadQueue::came_back(Copy& copy, uint64_t bytes) {
  copy.in_flight -= bytes;
  if (copies_.size() == 1) return;
  const uint64_t now = monotonic_ns();
  copy.busy_ns += now - std::exchange(copy.last_ns, now);
  copy.done += bytes;
  if (copy.done < kSpeedBytes) return;
  const double speed =
      static_cast<double>(copy.done) * 1e9 / static_cast<double>(std::max<uint64_t>(copy.busy_ns, 1));
  copy.speed = copy.speed == 0 ? speed : (copy.speed + speed) / 2;
  copy.done = copy.busy_ns = 0;
}

// Asking the drive takes it a millisecond or so: rarely, and without the lock.
void ReadQueue::look_at_temperature(std::unique_lock<std::mutex>& lock) {
  const uint64_t now = monotonic_ns();
  const uint64_t passed = now - last_look_ns_;
  if (passed < pace_.look_ns) return;
  const uint64_t read = bytes_read();
  const uint64_t measured = static_cast<uint64_t>(static_cast<double>(read - read_at_last_look_) * 1e9 /
                                                  static_cast<double>(passed));
  const bool was_busy = last_look_ns_ != 0 && passed < 2 * pace_.look_ns;
  last_look_ns_ = now;
  read_at_last_look_ = read;
  lock.unlock();
  const std::optional<double> celsius = pace_.celsius();
  lock.lock();
  celsius_ = celsius.value_or(-1);
  if (!was_busy) return;  // idle in between: no speed to go by
  const uint64_t thermal = thermal_.look(celsius, measured);
  thermal_limit_ = thermal;
  limit_.set(thermal == 0             ? pace_.bytes_per_s
             : pace_.bytes_per_s == 0 ? thermal
                                      : std::min(thermal, pace_.bytes_per_s));
}

std::string ReadQueue::describe() const {
  std::string text = registered_.empty() ? "" : "; " + registered_;
  if (copies_.size() > 1) {
    uint64_t total = 0;
    for (const Copy& copy : copies_) total += copy.total;
    text += format_string("; %zu copies", copies_.size());
    for (size_t c = 0; c < copies_.size(); ++c) {
      const double share =
          total == 0 ? 0 : 100 * static_cast<double>(copies_[c].total) / static_cast<double>(total);
      text += format_string("%s%.0f %%", c == 0 ? ", " : " and ", share);
      if (copies_[c].error != 0) text += format_string(" (dropped: %s)", std::strerror(copies_[c].error));
    }
    text += " of the bytes";
  }
  if (pace_.bytes_per_s > 0) text += format_string("; at most %s/s", format_bytes(pace_.bytes_per_s).c_str());
  if (celsius_ >= 0) text += format_string("; drive at %.0f °C", celsius_.load());
  if (thermal_limit_ > 0) text += format_string(", slowed to %s/s", format_bytes(thermal_limit_).c_str());
  return text;
}

void ReadQueue::settle(const ReadCompletion& completion) {
  const auto index = static_cast<uint32_t>(completion.tag);
  came_back(copies_[pieces_[index].copy], pieces_[index].bytes);
  if (completion.error != 0 && pieces_[index].copy != 0) {
    copies_[pieces_[index].copy].error = completion.error;
    pieces_[index].copy = 0;
    retries_.push_back(index);
    return;
  }
  const Piece piece = pieces_[index];
  free_pieces_.push_back(static_cast<uint32_t>(completion.tag));
  bytes_in_flight_ -= piece.bytes;
  if (timeline_ != nullptr)
    timeline_->add(Timeline::Track::kReads, piece.why, piece.asked_ns, monotonic_ns(), piece.bytes,
                   piece.file, piece.offset);
  Transfer& transfer = *piece.transfer;
  --transfer.n_in_flight;
  if (completion.error != 0 && transfer.failure.error == 0) {
    transfer.failure = {completion.error, piece.file, piece.offset};
    if (transfer.is_queued) drop_from_queues(transfer);  // the rest is of no use
  }
  if (transfer.n_in_flight > 0 || transfer.is_queued) return;
  ended_.push_back(&transfer);
  has_ended_.store(true, std::memory_order_release);
  transfer_ended_.notify_one();
}

}  // namespace sluice
