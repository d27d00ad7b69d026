// How fast a disk is: reads of a block size at a queue depth, around the page cache and through it, on a file
// that is there or on one that is written for it and leaves no trace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "platform/file.h"

namespace sluice {

enum class DiskPattern : uint8_t {
  kRandom,   // at random offsets, one after another, always so many in flight
  kBurst,    // at random offsets, so many at once, and the next ones when all have come: experts of a layer
  kInOrder,  // from the beginning of the file
};
const char* disk_pattern_name(DiskPattern pattern) noexcept;  // "random"

// One measurement.
struct DiskSpeed {
  uint64_t block_bytes = 0;
  uint64_t depth = 0;  // reads in flight
  bool direct = true;  // O_DIRECT; false: through the page cache, which was emptied of the file before
  DiskPattern pattern = DiskPattern::kRandom;
  double bytes_per_second = 0;
};

// A file of pseudo-random bytes that has no name: it is gone when this is, even if the process is killed.
class DiskTestFile {
 public:
  // Writes `bytes` in `directory` to the disk. `progress(done, total)` may throw to cancel. Error(kNotFound,
  // kIo) for a directory that is not there or may not be written, and, before anything is written, for one
  // with too little free space.
  DiskTestFile(const std::string& directory, uint64_t bytes,
               const std::function<void(uint64_t done, uint64_t total)>& progress = {});
  ~DiskTestFile();
  DiskTestFile(const DiskTestFile&) = delete;
  DiskTestFile& operator=(const DiskTestFile&) = delete;

  std::string path() const;  // by which it can be opened while it is there

 private:
  int fd_ = -1;
};

// Random reads around the page cache of every block size at every depth, bursts of blocks of 256 KiB and 1
// MiB, then in order: 512 KiB, 16 in flight, around the cache and through it. All go into memory that no
// cache holds, as a model's do. About `seconds` each, in order around the cache ten times as long, for a
// drive may be faster at first; the reads around the cache are left out where the file system has none.
// `step(done, total)` after each; may throw to cancel. Error(kInvalid) for a file too small to read at
// random.
std::vector<DiskSpeed> measure_disk(const std::string& path, const std::vector<uint64_t>& blocks,
                                    const std::vector<uint64_t>& depths, double seconds,
                                    const std::function<void(uint64_t done, uint64_t total)>& step = {});

// Bytes per second of reads around the page cache (O_DIRECT) of 512 KiB, 16 in flight, through the files from
// their beginning for about a second. 0 where the file system has no O_DIRECT.
double measure_disk_bandwidth(const std::vector<std::string>& files);

}  // namespace sluice
