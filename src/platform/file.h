// Files as the engine sees them: opened once, read at offsets, written atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

enum class IoMode : uint8_t {
  kBuffered,  // through the page cache
  kDirect,    // O_DIRECT: offset, length and address in whole pages (base/align.h)
};

// An open file that is only read. Thread-safe; owns its descriptor.
class File {
 public:
  // Throws Error(kNotFound, kIo). Refuses what is not a regular file. With kDirect, falls back to kBuffered
  // where the file system has no O_DIRECT; see mode().
  static std::shared_ptr<const File> open(const std::string& path, IoMode mode = IoMode::kBuffered);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const noexcept { return path_; }
  uint64_t size() const noexcept { return size_; }  // bytes, when it was opened
  IoMode mode() const noexcept { return mode_; }
  int descriptor() const noexcept { return fd_; }

  // Fills `out` from `offset`. Throws Error(kCorrupt) at a premature end, kIo on failure. kBuffered only.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  File(std::string path, int fd, uint64_t size, IoMode mode);
  std::string path_;
  int fd_;
  uint64_t size_;
  IoMode mode_;
};

// The whole file, at most `max_bytes` (Error(kInvalid) above it).
std::string read_text_file(const std::string& path, uint64_t max_bytes);

// A file that appears whole or not at all: written under a temporary name beside the target, synced and
// renamed by commit(). Destroyed without commit() it leaves nothing behind. Not thread-safe.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);  // Error(kIo) with path and reason
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);  // appends; Error(kIo) (disk full, …) names the path
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  // within what was written
  void pad_to(uint64_t alignment);                                   // zeros up to a multiple
  uint64_t size() const noexcept;                                    // bytes so far
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A directory that appears whole or not at all: its files are written (FileWriter) into one under another
// name beside the target, which commit() renames. Destroyed without commit() it removes what was written. Not
// thread-safe.
class DirectoryWriter {
 public:
  explicit DirectoryWriter(const std::string& path);  // Error(kInvalid) if it exists and is not empty
  ~DirectoryWriter();
  DirectoryWriter(const DirectoryWriter&) = delete;
  DirectoryWriter& operator=(const DirectoryWriter&) = delete;

  std::string file(std::string_view name) const;  // the path at which to write it
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  bool committed_ = false;
};

}  // namespace sluice
