// The store's reading thread. It owns the AsyncReader, cuts transfers into pieces and keeps as many of them
// in flight as the depth and the pace allow: demands first, then what is read ahead, then prefetches. Where
// files have copies on other drives it spreads the pieces over them. It decides nothing else: where bytes go,
// what is given up for them, and how fast reads may go, is settled elsewhere.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "platform/async_reader.h"
#include "platform/timeline.h"
#include "store/rate_limit.h"
#include "store/transfer.h"

namespace sluice {

// What is surely wanted soon is kAhead. A prefetch may turn out unwanted: it is begun when the drive would
// run out of reads, so that there is time to call it off.
enum class Priority : uint8_t { kDemand, kAhead, kPrefetch, kCount };

// How fast drives may be read.
struct ReadPace {
  uint64_t bytes_per_s = 0;                        // 0: as fast as they can
  std::function<std::optional<double>()> celsius;  // of the drive; empty where nobody can tell
  double max_celsius = 75;                         // above it reads slow down
  uint64_t look_ns = 2'000'000'000;                // between two looks at the temperature
};

// Used by one caller thread.
class ReadQueue {
 public:
  using Files = std::vector<std::shared_ptr<const File>>;  // [n_files]

  // `copies`: the files, and then their equals on other drives, if any; directory names for messages are
  // theirs. `max_reads` is the reader's depth, `max_bytes` bounds what is in flight of more than one read.
  // `memory`: where most reads go, to be registered with the kernel.
  ReadQueue(const std::vector<Files>& copies, std::unique_ptr<AsyncReader> reader, size_t max_reads,
            uint64_t max_bytes, ReadPace pace = {}, std::span<const std::span<std::byte>> memory = {});
  // What is in flight ends first; what is not is forgotten.
  ~ReadQueue();
  ReadQueue(const ReadQueue&) = delete;
  ReadQueue& operator=(const ReadQueue&) = delete;

  // Puts a transfer with a room in line: state kReading from here. It is handed over by the next flush(), so
  // that many cost one lock.
  void stage(Transfer& transfer, Priority priority);
  void flush();

  // Moves one that is kReading to the demands.
  void promote(Transfer& transfer);
  // Gives up one that is kReading. It is kFailed at once if nothing of it was in flight; otherwise it comes
  // back from take_ended().
  void cancel(Transfer& transfer);
  // The same if nothing of it was asked of the system yet. Otherwise it goes on: somebody may lease it before
  // what is in flight has ended.
  void cancel_unless_begun(Transfer& transfer);

  // Collects transfers whose reading has ended, kArrived or kFailed, in order of arrival. With `block` waits
  // for one if any is kReading. `ended` is overwritten.
  void take_ended(std::vector<Transfer*>& ended, bool block);

  // What nobody waits for yet (read ahead, prefetched) is asked for no faster than this from now on; 0: as
  // fast as the pace allows. Demands are not held back, and do not use it up.
  void limit_unawaited(uint64_t bytes_per_s);

  // Blocks until take_ended() has something. Precondition: some are kReading and were flushed.
  void wait_ended();

  // Notes every read in a timeline that outlives the queue. Before the first stage().
  void note_in(Timeline* timeline);

  size_t n_reading() const { return n_reading_; }  // transfers
  bool demand_is_waiting();                        // some demand has pieces that were not asked for yet

  uint64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }
  uint64_t unawaited_bytes() const { return unawaited_bytes_.load(std::memory_order_relaxed); }  // of these
  uint64_t reads() const { return reads_.load(std::memory_order_relaxed); }
  bool is_idle() const { return bytes_in_flight_.load(std::memory_order_acquire) == 0; }
  const char* reader_name() const { return reader_name_; }
  // "; 2 copies, 61 % and 39 % of the reads; drive at 41 °C, ..." or nothing, for reports.
  std::string describe() const;

 private:
  struct Piece {
    Transfer* transfer = nullptr;
    uint32_t file = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    std::byte* data = nullptr;
    size_t copy = 0;
    const char* why = "";   // for the timeline
    uint64_t asked_ns = 0;  // where there is one
  };
  // One drive's worth of files. The first is the original, which is never given up.
  struct Copy {
    Files files;
    uint64_t in_flight = 0;  // bytes
    uint64_t busy_ns = 0;    // with something in flight, and
    uint64_t done = 0;       // bytes that came in that time, since speed was last worked out
    uint64_t last_ns = 0;    // up to when busy_ns counts
    double speed = 0;        // bytes per second; 0: not known yet
    double turn = 0;         // bytes asked for, each counted by how much slower than the fastest it is
    std::atomic<uint64_t> total = 0;  // bytes that were asked for
    std::atomic<int> error = 0;       // errno that took it out of use
  };
  void read_loop();
  uint64_t wait_ns(Priority priority);
  void look_at_temperature(std::unique_lock<std::mutex>& lock);
  size_t choose_copy(uint64_t bytes);
  ReadRequest ask(uint32_t piece);
  void came_back(Copy& copy, uint64_t bytes);
  bool has_queued() const;
  void drop_from_queues(Transfer& transfer);
  void cut_pieces(std::vector<ReadRequest>& requests);
  bool has_room() const;
  bool cut_piece(Transfer& transfer, ReadRequest& request);
  void settle(const ReadCompletion& completion);
  std::deque<Transfer*>& queue(Priority priority) { return queues_[static_cast<size_t>(priority)]; }

  const std::unique_ptr<AsyncReader> reader_;
  const char* const reader_name_;
  std::string registered_;  // what of files and memory
  const uint64_t max_bytes_;

  // The caller's.
  struct Staged {
    Transfer* transfer;
    Priority priority;
  };
  std::vector<Staged> staged_;
  size_t n_reading_ = 0;

  // The reading thread's.
  std::vector<Piece> pieces_;          // [max_reads]
  std::vector<uint32_t> free_pieces_;  // indices of pieces_
  std::atomic<uint64_t> bytes_in_flight_ = 0;
  std::deque<Copy> copies_;        // [n_copies]
  std::vector<uint32_t> retries_;  // pieces that failed on a copy, for the original
  const ReadPace pace_;
  RateLimit limit_;
  RateLimit unawaited_limit_;  // set by the caller, with the lock
  ThermalRule thermal_;
  uint64_t last_look_ns_ = 0, read_at_last_look_ = 0;

  std::atomic<double> celsius_ = -1;         // at the last look; -1: unknown
  std::atomic<uint64_t> thermal_limit_ = 0;  // bytes per second
  std::atomic<uint64_t> bytes_read_ = 0;
  std::atomic<uint64_t> unawaited_bytes_ = 0;
  std::atomic<uint64_t> reads_ = 0;
  std::atomic<bool> has_ended_ = false;  // ended_ is not empty: spares polls the lock

  std::mutex mutex_;  // what follows, and the ReadQueue's part of transfers
  std::condition_variable work_came_;
  std::condition_variable transfer_ended_;
  std::array<std::deque<Transfer*>, static_cast<size_t>(Priority::kCount)> queues_;
  std::vector<Transfer*> ended_;
  bool can_take_more_ = false;  // the thread waits for completions with room for more reads: wake it
  bool stop_ = false;
  Timeline* timeline_ = nullptr;

  std::thread thread_;  // last: uses all of the above
};

}  // namespace sluice
