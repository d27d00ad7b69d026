// How the store reads: at what pace, from which copies, and what it makes of drives that misbehave.
#include "store/read_queue.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/align.h"
#include "base/units.h"
#include "platform/clock.h"
#include "sluice/error.h"
#include "store/plan.h"
#include "store/rate_limit.h"
#include "store/weight_store.h"
#include "tests/faulty_reader.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using test::Faults;
using test::FaultyReader;

constexpr uint64_t kSecond = 1'000'000'000;

// --- the pace ---

TEST(RateLimit, IsExactOverASecondAndSmoothWithin) {
  for (const uint64_t bytes : {4 * kPageBytes, kMiB}) {
    RateLimit limit;
    limit.set(200 * kMiB);
    uint64_t now = 7 * kSecond;
    std::vector<uint64_t> by_tenth(30, 0);
    while (now < 10 * kSecond) {
      const uint64_t wait = limit.wait_ns(now);
      if (wait > 0) {
        now += wait;
        continue;
      }
      limit.take(bytes);
      by_tenth[(now - 7 * kSecond) / (kSecond / 10)] += bytes;
      now += 1000;
    }
    uint64_t total = 0;
    for (const uint64_t tenth : by_tenth) {
      EXPECT_NEAR(static_cast<double>(tenth), 20.0 * kMiB, 5.1 * kMiB);
      total += tenth;
    }
    EXPECT_NEAR(static_cast<double>(total), 600.0 * kMiB, 6.0 * kMiB);
  }
}

TEST(RateLimit, SavesUpNoMoreThanABucket) {
  RateLimit limit;
  limit.set(100 * kMiB);
  EXPECT_EQ(limit.wait_ns(kSecond), 0u);
  EXPECT_EQ(limit.wait_ns(60 * kSecond), 0u);  // an idle minute
  uint64_t taken = 0;
  while (limit.wait_ns(60 * kSecond) == 0) {
    limit.take(64 << 10);
    taken += 64 << 10;
  }
  EXPECT_LE(taken, 3 * kMiB);
}

TEST(RateLimit, NoneIsNone) {
  RateLimit limit;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(limit.wait_ns(1), 0u);
    limit.take(1 << 30);
  }
}

TEST(ThermalRule, HalvesWhileWarmAndRecoversWithHysteresis) {
  ThermalRule rule(75);
  constexpr uint64_t kFast = 2000 * kMiB;
  EXPECT_EQ(rule.look(60, kFast), 0u);
  EXPECT_EQ(rule.look(std::nullopt, kFast), 0u);
  EXPECT_EQ(rule.look(76, kFast), kFast / 2);
  EXPECT_EQ(rule.look(77, kFast / 2), kFast / 4);
  EXPECT_EQ(rule.look(74, kFast / 4), kFast / 4);  // not yet cool enough
  EXPECT_EQ(rule.look(std::nullopt, kFast / 4), kFast / 4);
  EXPECT_EQ(rule.look(70, kFast / 4), kFast / 2);
  EXPECT_EQ(rule.look(69, kFast / 2), 0u);
  for (int i = 0; i < 20; ++i) rule.look(90, kFast);
  EXPECT_EQ(rule.look(90, kFast), ThermalRule::kSlowest);
}

// --- files with known bytes ---

std::byte byte_at(uint64_t offset) { return static_cast<std::byte>((offset * 0x9e3779b97f4a7c15u) >> 56); }

// One file of units of 1 MiB, streamed in order, of which the store may hold a few; and copies of it.
class ReadQueueTest : public testing::Test {
 protected:
  static constexpr uint64_t kUnits = 48;

  ReadQueueTest() {
    std::string bytes(kUnits * kMiB, '\0');
    for (uint64_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(byte_at(i));
    path_ = scratch_.write("a/weights", bytes);
    for (uint64_t u = 0; u < kUnits; ++u) units_.push_back({UnitKind::kStreamed, {{0, u * kMiB, kMiB}}, 1});
  }

  std::string copy_to(const std::string& name) const {
    fs::create_directories(root_ / name);
    fs::copy_file(path_, root_ / name / "weights");
    return (root_ / name).string();
  }
  StoreOptions options() {
    StoreOptions o;
    o.weight_bytes = 6 * kMiB;
    o.io = IoChoice::kBuffered;
    o.reader_factory = [this](size_t depth) -> std::unique_ptr<AsyncReader> {
      return std::make_unique<FaultyReader>(make_reader(depth), depth, faults_);
    };
    return o;
  }
  // Every unit once.
  static void pass(WeightStore& store) {
    for (UnitId u = 0; u < kUnits; ++u) {
      const UnitRange range = {u};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
      WeightRef ref;
      ref.unit = u;
      ref.rows = 1;
      const std::byte* data = lease.view(0, ref).plane[0];
      for (uint64_t i = 0; i < kMiB; i += 511) ASSERT_EQ(data[i], byte_at(u * kMiB + i)) << "unit " << u;
    }
  }

  test::Scratch scratch_;
  fs::path root_ = scratch_.path();
  std::string path_;
  std::vector<UnitSpec> units_;
  std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
  MemoryBudget budget_ = MemoryBudget(UINT64_MAX);
};

TEST_F(ReadQueueTest, ReadsNoFasterThanTheLimit) {
  StoreOptions o = options();
  o.max_read_bytes_per_s = 64 * kMiB;
  o.reader_factory = {};
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  pass(store);
  const uint64_t read = store.stats().bytes_read;
  const uint64_t begin = monotonic_ns();
  for (int i = 0; i < 2; ++i) pass(store);
  const double seconds = static_cast<double>(monotonic_ns() - begin) * 1e-9;
  const double rate = static_cast<double>(store.stats().bytes_read - read) / seconds;
  EXPECT_LE(rate, 64 * 1.04 * kMiB);  // a bucket and what was ahead at the start
  EXPECT_GE(rate, 64 * 0.5 * kMiB);   // a busy machine is slower, not faster
  EXPECT_NE(store.describe_io().find("at most 64.0 MiB/s"), std::string::npos) << store.describe_io();
}

TEST_F(ReadQueueTest, LoadsNoFasterThanTheLimit) {
  StoreOptions o = options();
  o.max_read_bytes_per_s = 64 * kMiB;
  o.weight_bytes = UINT64_MAX;
  WeightStore store({path_}, units_, o, budget_);
  const uint64_t begin = monotonic_ns();
  store.load();
  EXPECT_GE(monotonic_ns() - begin, kSecond * (kUnits - 4) / 64);
}

// Slower and slower while the drive is hot, and it says so.
TEST_F(ReadQueueTest, SlowsDownForAWarmDrive) {
  std::atomic<double> celsius = 50;
  ReadPace pace;
  pace.celsius = [&] { return celsius.load(); };
  pace.look_ns = kSecond / 50;
  const auto file = File::open(path_);
  ReadQueue reads({{file}}, make_thread_reader(4), 4, 4 * kMiB, pace);
  Layout layout;
  const Extent all = {0, 0, kUnits * kMiB};
  lay_out({&all, 1}, IoMode::kBuffered, layout);
  std::vector<std::byte> room(layout.room);
  TransferPool pool;
  std::vector<Transfer*> ended;
  const auto read_all = [&] {
    Transfer* const transfer = pool.take(0, Transfer::Place::kPinned, &layout);
    transfer->base = room.data();
    const uint64_t begin = monotonic_ns();
    reads.stage(*transfer, Priority::kDemand);
    reads.take_ended(ended, true);
    EXPECT_EQ(transfer->state, Transfer::State::kArrived);
    pool.give_back(transfer);
    return monotonic_ns() - begin;
  };
  for (int i = 0; i < 20; ++i) read_all();
  EXPECT_NE(reads.describe().find("drive at 50"), std::string::npos) << reads.describe();
  EXPECT_EQ(reads.describe().find("slowed"), std::string::npos) << reads.describe();
  celsius = 80;
  for (int i = 0; i < 40 && reads.describe().find("slowed to 32.0 MiB/s") == std::string::npos; ++i)
    read_all();
  EXPECT_NE(reads.describe().find("drive at 80 °C, slowed to 32.0 MiB/s"), std::string::npos)
      << reads.describe();
  EXPECT_GE(read_all(), kSecond * (kUnits - 4) / 32);
  celsius = 70;
  for (int i = 0; i < 40 && reads.describe().find("slowed") != std::string::npos; ++i) read_all();
  EXPECT_EQ(reads.describe().find("slowed"), std::string::npos) << reads.describe();
}

// --- what nobody waits for yet ---

TEST_F(ReadQueueTest, HoldsBackWhatNobodyWaitsForAndNothingElse) {
  const auto file = File::open(path_);
  ReadQueue reads({{file}}, make_thread_reader(4), 4, 4 * kMiB);
  constexpr uint64_t kBytes = 8 * kMiB;
  Layout layout;
  const Extent extent = {0, 0, kBytes};
  lay_out({&extent, 1}, IoMode::kBuffered, layout);
  std::vector<std::byte> rooms(3 * layout.room);
  TransferPool pool;
  const auto stage = [&](size_t room, Priority priority) {
    Transfer& transfer = *pool.take(0, Transfer::Place::kPinned, &layout);
    transfer.base = rooms.data() + room * layout.room;
    reads.stage(transfer, priority);
    reads.flush();
    return &transfer;
  };
  std::vector<Transfer*> ended;
  const uint64_t begin = monotonic_ns();
  constexpr uint64_t kRate = 64 << 10;  // the second piece may be asked for after 8 s
  reads.limit_unawaited(kRate);
  Transfer* const ahead = stage(0, Priority::kAhead);
  Transfer* const prefetched = stage(1, Priority::kPrefetch);
  Transfer* const demanded = stage(2, Priority::kDemand);
  reads.take_ended(ended, true);
  EXPECT_EQ(ended, std::vector{demanded});
  const double allowed = static_cast<double>(monotonic_ns() - begin) * 1e-9 * kRate + 2 * kMaxReadBytes;
  EXPECT_LE(static_cast<double>(reads.unawaited_bytes()), allowed);
  EXPECT_EQ(reads.bytes_read() - reads.unawaited_bytes(), kBytes);

  reads.promote(*ahead);  // now somebody waits
  reads.take_ended(ended, true);
  EXPECT_EQ(ended, std::vector{ahead});
  reads.limit_unawaited(0);  // at once for what is in line
  reads.take_ended(ended, true);
  EXPECT_EQ(ended, std::vector{prefetched});
  EXPECT_LT(monotonic_ns() - begin, 8 * kSecond);
  for (uint64_t i = 0; i < kBytes; i += 511) {
    ASSERT_EQ(rooms[i], byte_at(i));
    ASSERT_EQ(rooms[layout.room + i], byte_at(i));
  }
  EXPECT_TRUE(reads.is_idle());
}

TEST_F(ReadQueueTest, BeginsNoMorePrefetchesThanKeepTheDriveBusy) {
  const auto file = File::open(path_);
  constexpr size_t kTransfers = 8;
  Layout layout;
  const Extent extent = {0, 0, kMiB};
  lay_out({&extent, 1}, IoMode::kBuffered, layout);
  std::vector<std::byte> rooms(kTransfers * layout.room);
  for (const Priority priority : {Priority::kAhead, Priority::kPrefetch}) {
    faults_->stall_ms = 1000;
    ReadQueue reads({{file}}, std::make_unique<FaultyReader>(make_thread_reader(32), 32, faults_), 32,
                    kTransfers * kMiB);
    TransferPool pool;
    std::vector<Transfer*> all;
    for (size_t i = 0; i < kTransfers; ++i) {
      all.push_back(pool.take(0, Transfer::Place::kPinned, &layout));
      all.back()->base = rooms.data() + i * layout.room;
      reads.stage(*all.back(), priority);
    }
    reads.flush();
    while (reads.unawaited_bytes() == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(reads.unawaited_bytes(), (priority == Priority::kAhead ? kTransfers : 2) * kMiB);
    reads.cancel_unless_begun(*all.front());
    reads.cancel_unless_begun(*all.back());
    EXPECT_EQ(all.front()->state, Transfer::State::kReading);
    EXPECT_EQ(all.back()->state == Transfer::State::kReading, priority == Priority::kAhead);
    std::vector<Transfer*> ended;
    size_t n = all.back()->state == Transfer::State::kReading ? 0 : 1;
    for (; n < kTransfers; n += ended.size()) reads.take_ended(ended, true);
    EXPECT_EQ(reads.unawaited_bytes(), (priority == Priority::kAhead ? kTransfers : kTransfers - 1) * kMiB);
  }
}

TEST_F(ReadQueueTest, KeepsToTheLimitOfWhatNobodyWaitsFor) {
  const auto file = File::open(path_);
  ReadQueue reads({{file}}, make_thread_reader(4), 4, 4 * kMiB);
  Layout layout;
  const Extent all = {0, 0, kUnits * kMiB};
  lay_out({&all, 1}, IoMode::kBuffered, layout);
  std::vector<std::byte> room(layout.room);
  TransferPool pool;
  Transfer& transfer = *pool.take(0, Transfer::Place::kPinned, &layout);
  transfer.base = room.data();
  reads.limit_unawaited(96 * kMiB);
  const uint64_t begin = monotonic_ns();
  reads.stage(transfer, Priority::kAhead);
  std::vector<Transfer*> ended;
  reads.take_ended(ended, true);
  EXPECT_GE(monotonic_ns() - begin, kSecond * (kUnits - 4) / 96);
  EXPECT_EQ(reads.unawaited_bytes(), kUnits * kMiB);
}

// Passes whose products are said to be a quarter slower beside reads.
TEST_F(ReadQueueTest, AStoreSlowsReadsAheadForTheArithmetic) {
  StoreOptions o = options();
  o.max_slowdown = 0.05;
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  EXPECT_TRUE(store.wants_measured_passes());
  UnitId next = 0;
  for (int i = 0; i < 40 && store.stats().pace.limit == 0; ++i) {
    store.begin_pass(true);
    for (int n = 0; n < 4; ++n, next = (next + 1) % kUnits) {
      const UnitRange range = {next};
      Lease lease = store.acquire({&range, 1});
      lease.wait(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    store.end_measured_pass(80'000'000, 60'000'000);
  }
  const PaceReport pace = store.stats().pace;
  EXPECT_GE(pace.limit, PaceController::kSlowest);
  EXPECT_NEAR(pace.lost, 0.25, 1e-9);
  EXPECT_NE(store.describe_io().find("beside reads arithmetic is 25.0 % slower, reads ahead at most"),
            std::string::npos)
      << store.describe_io();
  pass(store);
}

TEST_F(ReadQueueTest, AStoreMeasuresNothingUnasked) {
  WeightStore store({path_}, units_, options(), budget_);
  store.load();
  EXPECT_FALSE(store.wants_measured_passes());
  store.begin_pass(false);
  pass(store);
  EXPECT_EQ(store.stats().pace.tolerated, 0);
  EXPECT_EQ(store.stats().pace.kernel_ns, 0u);
  EXPECT_EQ(store.describe_io().find("arithmetic"), std::string::npos);
}

TEST_F(ReadQueueTest, AnIdleStoreSaysThatNothingIsRead) {
  StoreOptions o = options();
  o.weight_bytes = UINT64_MAX;
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  const std::optional<uint64_t> before = store.reads_if_idle();
  ASSERT_TRUE(before);
  pass(store);  // all of it is in memory
  EXPECT_EQ(store.reads_if_idle(), before);
}

// --- copies on other drives ---

// Reads of files below `slow` take three times as long as others, one after the other on each drive.
class TwoDrives final : public AsyncReader {
 public:
  TwoDrives(size_t depth, std::string slow) : depth_(depth), slow_(std::move(slow)) {}

  size_t submit(std::span<const ReadRequest> requests) override {
    size_t n = 0;
    for (; n < requests.size() && reads_.size() < depth_; ++n) {
      const bool is_slow = requests[n].file->path().rfind(slow_, 0) == 0;
      uint64_t& free_at = free_at_[is_slow];
      free_at =
          std::max(free_at, monotonic_ns()) + requests[n].bytes * (is_slow ? 15 : 5);  // 67 and 200 MB/s
      reads_.push_back({free_at, requests[n]});
    }
    return n;
  }
  size_t collect(std::span<ReadCompletion> out, bool) override {
    if (reads_.empty()) return 0;
    const auto first = std::min_element(reads_.begin(), reads_.end(),
                                        [](const Read& a, const Read& b) { return a.ready < b.ready; });
    while (monotonic_ns() < first->ready) std::this_thread::sleep_for(std::chrono::microseconds(50));
    const ReadRequest& r = first->request;
    const ssize_t n = ::pread(r.file->descriptor(), r.data, r.bytes, static_cast<off_t>(r.offset));
    out[0] = {r.tag, n == static_cast<ssize_t>(r.bytes) ? 0 : EIO};
    reads_.erase(first);
    return 1;
  }
  void wake() noexcept override {}
  size_t in_flight() const noexcept override { return reads_.size(); }
  const char* name() const noexcept override { return "two drives"; }

 private:
  struct Read {
    uint64_t ready;
    ReadRequest request;
  };
  const size_t depth_;
  const std::string slow_;
  uint64_t free_at_[2] = {0, 0};
  std::vector<Read> reads_;
};

TEST_F(ReadQueueTest, SpreadsReadsByTheSpeedOfTheDrives) {
  StoreOptions o = options();
  o.mirrors = {copy_to("b")};
  o.weight_bytes = 20 * kMiB;
  o.reader_factory = [&](size_t depth) { return std::make_unique<TwoDrives>(depth, (root_ / "b").string()); };
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  for (int i = 0; i < 8; ++i) pass(store);
  const std::string io = store.describe_io();
  const size_t at = io.find("2 copies, ");
  ASSERT_NE(at, std::string::npos) << io;
  EXPECT_NEAR(std::stod(io.substr(at + 10)), 75, 10) << io;
}

TEST_F(ReadQueueTest, ReadsFromBothCopiesAndNeverOtherBytes) {
  StoreOptions o = options();
  o.mirrors = {copy_to("b"), copy_to("c")};
  faults_->max_delay_us = 50;
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  for (int i = 0; i < 6; ++i) pass(store);
  const std::string io = store.describe_io();
  EXPECT_NE(io.find("3 copies"), std::string::npos) << io;
  EXPECT_EQ(io.find("dropped"), std::string::npos) << io;
  EXPECT_EQ(io.find("100 %"), std::string::npos) << io;
}

TEST_F(ReadQueueTest, DropsACopyThatFailsAndReadsOnFromTheOriginal) {
  StoreOptions o = options();
  o.mirrors = {copy_to("b")};
  faults_->fail_below = (root_ / "b").string();
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  pass(store);
  EXPECT_EQ(store.describe_io().find("dropped"), std::string::npos) << store.describe_io();
  faults_->fail = 1000;
  for (int i = 0; i < 40 && faults_->n_failed == 0; ++i) pass(store);
  pass(store);
  EXPECT_GT(faults_->n_failed.load(), 0u);
  EXPECT_LE(faults_->n_failed.load(), 300u);  // what was in flight
  EXPECT_NE(store.describe_io().find("(dropped: Input/output error)"), std::string::npos)
      << store.describe_io();
}

TEST_F(ReadQueueTest, NeverDropsTheOriginal) {
  StoreOptions o = options();
  o.mirrors = {copy_to("b")};
  faults_->fail_below = (root_ / "a").string();
  WeightStore store({path_}, units_, o, budget_);
  store.load();
  faults_->fail = 1000;
  EXPECT_THROW(
      {
        for (int i = 0; i < 3; ++i) pass(store);
      },
      Error);
  faults_->fail = 0;
  pass(store);
}

TEST_F(ReadQueueTest, RefusesWhatIsNoCopy) {
  const auto refuses = [&](const std::string& directory, const char* why, ErrorKind kind) {
    StoreOptions o = options();
    o.mirrors = {directory};
    try {
      WeightStore store({path_}, units_, o, budget_);
      ADD_FAILURE() << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(directory), std::string::npos) << error.what();
    }
    EXPECT_EQ(budget_.total(), 0u);
  };
  refuses((root_ / "nowhere").string(), "there is none", ErrorKind::kNotFound);
  const std::string shorter = copy_to("shorter");
  fs::resize_file(fs::path(shorter) / "weights", kUnits * kMiB - 1);
  refuses(shorter, "another size", ErrorKind::kInvalid);
  for (const uint64_t offset : {uint64_t{5}, kUnits * kMiB - 5}) {
    const std::string other = copy_to("other" + std::to_string(offset));
    std::fstream file(fs::path(other) / "weights", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(~std::to_integer<int>(byte_at(offset))));
    file.close();
    refuses(other, "another byte", ErrorKind::kInvalid);
  }
}

// --- drives that misbehave ---

TEST_F(ReadQueueTest, WaitsForADriveThatStalls) {
  WeightStore store({path_}, units_, options(), budget_);
  store.load();
  pass(store);
  const uint64_t stalled = store.stats().stall_ns;
  const uint64_t begin = monotonic_ns();
  faults_->stall_ms = 2000;
  pass(store);
  EXPECT_GE(monotonic_ns() - begin, 2 * kSecond * 9 / 10);
  EXPECT_GE(store.stats().stall_ns - stalled, kSecond);
}

TEST_F(ReadQueueTest, AStoreOnAStalledDriveCanBeLeft) {
  auto store = std::make_unique<WeightStore>(std::vector{path_}, units_, options(), budget_);
  store->load();
  pass(*store);
  faults_->stall_ms = 300;
  store.reset();
  EXPECT_EQ(budget_.total(), 0u);
}

TEST_F(ReadQueueTest, NamesTheErrorOfTheDrive) {
  for (const int error_number : {EIO, EACCES, ESTALE}) {
    WeightStore store({path_}, units_, options(), budget_);
    store.load();
    faults_->error = error_number;
    faults_->fail = 1000;
    try {
      for (int i = 0; i < 3; ++i) pass(store);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kIo);
      EXPECT_NE(std::string(error.what()).find(std::strerror(error_number)), std::string::npos)
          << error.what();
      EXPECT_NE(std::string(error.what()).find(path_), std::string::npos) << error.what();
    }
    faults_->fail = 0;
    pass(store);  // once it is well again, so is the store
  }
}

// Permission that is lost counts when a file is opened; what is open stays readable.
TEST_F(ReadQueueTest, SurvivesPermissionLostAndFilesRemoved) {
  WeightStore store({path_}, units_, options(), budget_);
  store.load();
  ASSERT_EQ(::chmod(path_.c_str(), 0), 0);
  pass(store);
  if (::geteuid() != 0) {
    EXPECT_THROW(File::open(path_), Error);
  }
  fs::remove(path_);
  pass(store);
}

}  // namespace
}  // namespace sluice
