// A file in memory for fuzzers, so that they go the way that real files go.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"

namespace sluice {

class FuzzFile {
 public:
  FuzzFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(fd_)) {
    SLUICE_CHECK(fd_ >= 0);
  }
  ~FuzzFile() { ::close(fd_); }
  FuzzFile(const FuzzFile&) = delete;
  FuzzFile& operator=(const FuzzFile&) = delete;

  void set(const uint8_t* data, size_t size) const {
    SLUICE_CHECK(::ftruncate(fd_, 0) == 0);
    SLUICE_CHECK(::pwrite(fd_, data, size, 0) == static_cast<ssize_t>(size));
  }

  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

}  // namespace sluice
