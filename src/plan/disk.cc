#include "plan/disk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <numeric>
#include <random>

#include "base/check.h"
#include "base/error.h"
#include "base/function_ref.h"
#include "base/units.h"
#include "platform/async_reader.h"
#include "platform/clock.h"
#include "platform/memory_info.h"
#include "store/plan.h"

namespace sluice {
namespace {

constexpr uint64_t kLongRead = kMaxReadBytes;  // as the engine reads what lies in order
constexpr uint64_t kLongDepth = 16;
constexpr double kLonger = 10;               // than the other measurements: in order
constexpr uint64_t kRingBytes = 128 * kMiB;  // more than caches hold, as a model's memory is
constexpr uint64_t kBurstBlocks[] = {kMiB / 4, kMiB};
constexpr uint64_t kLeastBlocks = 128;  // fewer would be read again and again
constexpr uint64_t kWriteBytes = 4 * kMiB;

// Keeps `depth` reads in flight (or, in bursts, submits so many once the ones before have come) until the
// time is up or `next` says that there are no more; bytes per second. They go round in `ring`, which has room
// for `depth` at least. A read that fails throws Error(kIo).
double read_blocks(const PageBuffer& ring, uint64_t block, uint64_t depth, bool bursts, double seconds,
                   FunctionRef<bool(const File*& file, uint64_t& offset)> next) {
  const std::unique_ptr<AsyncReader> reader = make_reader(depth);
  const uint64_t n_places = ring.size() / (block * depth) * depth;
  SLUICE_CHECK(n_places > 0);
  uint64_t bytes = 0, burst = 0;
  const File* file = nullptr;
  const double start = monotonic_seconds();
  const auto submit = [&](uint64_t place) {
    ReadRequest request = {
        .data = ring.data() + place * block, .bytes = static_cast<uint32_t>(block), .tag = place};
    if (!next(request.file, request.offset)) return false;
    file = request.file;
    return reader->submit(std::span(&request, 1)) == 1;
  };
  bool more = true;
  const auto submit_all = [&] {
    for (uint64_t i = 0; i < depth && more; ++i, burst = (burst + 1) % n_places) more = submit(burst);
  };
  submit_all();
  std::array<ReadCompletion, 64> done;
  while (reader->in_flight() > 0) {
    const size_t n = reader->collect(done, /*block=*/true);
    for (size_t i = 0; i < n; ++i) {
      if (done[i].error != 0) throw_errno(done[i].error, "cannot read", file->path());
      bytes += block;
      if (!bursts && more && monotonic_seconds() - start < seconds)
        more = submit((done[i].tag + depth) % n_places);
    }
    if (bursts && reader->in_flight() == 0 && monotonic_seconds() - start < seconds) submit_all();
  }
  return static_cast<double>(bytes) / (monotonic_seconds() - start);
}

// From the beginning, and again, where no page cache would remember it.
double read_in_order(const File& file, const PageBuffer& ring, double seconds) {
  uint64_t at = 0;
  return read_blocks(ring, kLongRead, kLongDepth, /*bursts=*/false, seconds,
                     [&](const File*& from, uint64_t& offset) {
                       if (at + kLongRead > file.size() && file.mode() == IoMode::kDirect) at = 0;
                       if (at + kLongRead > file.size()) return false;
                       from = &file;
                       offset = at;
                       at += kLongRead;
                       return true;
                     });
}

double read_at_random(const File& file, const PageBuffer& ring, uint64_t block, uint64_t depth, bool bursts,
                      double seconds) {
  std::vector<uint32_t> order(static_cast<size_t>(file.size() / block));
  std::iota(order.begin(), order.end(), 0U);
  std::mt19937 random(static_cast<uint32_t>(block + depth));
  std::shuffle(order.begin(), order.end(), random);
  size_t at = 0;
  return read_blocks(ring, block, depth, bursts, seconds, [&](const File*& from, uint64_t& offset) {
    from = &file;
    offset = order[at++ % order.size()] * block;
    return true;
  });
}

// A file without a name in `directory`; one with a name that is gone at once where there are none.
int open_nameless(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string name = directory + "/sluice-doctor-XXXXXX";
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

DiskTestFile::DiskTestFile(const std::string& directory, uint64_t bytes,
                           const std::function<void(uint64_t, uint64_t)>& progress) {
  struct statvfs space;
  if (::statvfs(directory.c_str(), &space) != 0) throw_errno(errno, "cannot measure the disk in", directory);
  const uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  if (free < bytes + bytes / 8)
    throw_error(ErrorKind::kIo,
                "%s has %s free and the test file takes %s: choose another directory with --path, or an "
                "existing big file with --file",
                printable(directory).c_str(), format_bytes(free).c_str(), format_bytes(bytes).c_str());
  fd_ = open_nameless(directory);
  if (fd_ < 0) throw_errno(errno, "cannot write a test file in", directory);
  try {
    // Bytes that no disk can compress; every block another.
    std::vector<uint64_t> words(kWriteBytes / sizeof(uint64_t));
    std::mt19937_64 random(static_cast<uint64_t>(::getpid()));
    for (uint64_t& word : words) word = random();
    for (uint64_t done = 0; done < bytes;) {
      words[done / kWriteBytes % words.size()] = random();
      const auto* data = reinterpret_cast<const char*>(words.data());
      const uint64_t wanted = std::min(kWriteBytes, bytes - done);
      const ssize_t n = ::pwrite(fd_, data, wanted, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw_errno(errno, "cannot write the test file in", directory);
      done += static_cast<uint64_t>(n);
      if (progress) progress(done, bytes);
    }
    if (::fdatasync(fd_) != 0) throw_errno(errno, "cannot write the test file in", directory);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

DiskTestFile::~DiskTestFile() { ::close(fd_); }

std::string DiskTestFile::path() const { return format_string("/proc/self/fd/%d", fd_); }

const char* disk_pattern_name(DiskPattern pattern) noexcept {
  return pattern == DiskPattern::kRandom ? "random" : pattern == DiskPattern::kBurst ? "burst" : "in order";
}

std::vector<DiskSpeed> measure_disk(const std::string& path, const std::vector<uint64_t>& blocks,
                                    const std::vector<uint64_t>& depths, double seconds,
                                    const std::function<void(uint64_t, uint64_t)>& step) {
  std::vector<DiskSpeed> table;
  const uint64_t total = (blocks.size() + std::size(kBurstBlocks)) * depths.size() + 2;
  uint64_t n_done = 0;
  const auto add = [&](const DiskSpeed& speed) {
    table.push_back(speed);
    if (step) step(++n_done, total);
  };
  const std::shared_ptr<const File> direct = File::open(path, IoMode::kDirect);
  if (direct->size() < kLeastBlocks * kLongRead)
    throw_error(ErrorKind::kInvalid, "%s has %s; give a file of %s or more to measure the disk",
                printable(path).c_str(), format_bytes(direct->size()).c_str(),
                format_bytes(kLeastBlocks * kLongRead).c_str());
  const PageBuffer ring(kRingBytes);
  (void)ring.prefault(0, ring.size());
  if (direct->mode() == IoMode::kDirect) {
    for (const uint64_t block : blocks)
      for (const uint64_t depth : depths)
        add({block, depth, true, DiskPattern::kRandom,
             read_at_random(*direct, ring, block, depth, false, seconds)});
    for (const uint64_t block : kBurstBlocks)
      for (const uint64_t depth : depths)
        add({block, depth, true, DiskPattern::kBurst,
             read_at_random(*direct, ring, block, depth, true, seconds)});
    add({kLongRead, kLongDepth, true, DiskPattern::kInOrder,
         read_in_order(*direct, ring, kLonger * seconds)});
  }
  const std::shared_ptr<const File> buffered = File::open(path, IoMode::kBuffered);
  (void)::posix_fadvise(buffered->descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  add({kLongRead, kLongDepth, false, DiskPattern::kInOrder, read_in_order(*buffered, ring, seconds)});
  return table;
}

double measure_disk_bandwidth(const std::vector<std::string>& files) {
  constexpr double kSeconds = 1.0;
  std::vector<std::shared_ptr<const File>> opened;
  for (const std::string& path : files) {
    opened.push_back(File::open(path, IoMode::kDirect));
    if (opened.back()->mode() != IoMode::kDirect) return 0;
  }
  size_t current = 0;
  uint64_t at = 0;
  const PageBuffer ring(kLongDepth * kLongRead);  // little: a model may fill what memory is allowed
  return read_blocks(ring, kLongRead, kLongDepth, /*bursts=*/false, kSeconds,
                     [&](const File*& from, uint64_t& offset) {
                       while (current < opened.size() && at + kLongRead > opened[current]->size()) {
                         ++current;
                         at = 0;
                       }
                       if (current == opened.size()) return false;
                       from = opened[current].get();
                       offset = at;
                       at += kLongRead;
                       return true;
                     });
}

}  // namespace sluice
