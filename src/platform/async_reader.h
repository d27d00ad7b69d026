// Many reads in flight at once. Two backends with one contract: io_uring, and a pool of threads with pread
// where the kernel or a container forbids io_uring. Tests wrap one in a decorator that delays, shortens,
// reorders and fails reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "platform/file.h"

namespace sluice {

struct ReadRequest {
  const File* file = nullptr;  // outlives the request
  uint64_t offset = 0;
  std::byte* data = nullptr;  // [bytes], untouched by others until the completion arrives
  uint32_t bytes = 0;         // for kDirect files whole pages; may reach beyond the end of the file
  uint64_t tag = 0;           // the caller's, returned in the completion
};

struct ReadCompletion {
  uint64_t tag = 0;
  int error = 0;  // errno, 0 if the bytes are there. A file that has become shorter since its open is EIO.
};

// Not thread-safe but for wake(): one thread submits and collects. Short reads and EINTR/EAGAIN are retried
// inside; a completion means that all bytes up to the request's end or the file's end have arrived.
class AsyncReader {
 public:
  virtual ~AsyncReader() = default;
  // Accepts as many requests, in order, as fit in the queue; returns how many. Never blocks on I/O.
  virtual size_t submit(std::span<const ReadRequest> requests) = 0;
  // Collects finished reads into `out`, in any order. With `block` it waits for at least one, if any is in
  // flight, or for wake(). Returns how many.
  virtual size_t collect(std::span<ReadCompletion> out, bool block) = 0;
  // From any thread: a collect() that blocks, or else the next one that would, returns early.
  virtual void wake() noexcept = 0;
  virtual size_t in_flight() const noexcept = 0;
  virtual const char* name() const noexcept = 0;  // "io_uring" or "threads", for reports
  // Once, before the first submit(): most reads will be of these files, and into this memory, which stays
  // where it is until the reader is destroyed. What the kernel allows is registered with it, which spares it
  // to look up and pin them for each read. Returns what that was, for reports: "files and buffers
  // registered", or "".
  virtual std::string prepare(std::span<const File* const> files,
                              std::span<const std::span<std::byte>> memory);
};

// `depth` is the greatest number of reads in flight (>= 1).
std::unique_ptr<AsyncReader> make_thread_reader(size_t depth);
std::unique_ptr<AsyncReader> make_uring_reader(size_t depth);  // nullptr where io_uring is not to be had

// io_uring, or threads where it is not to be had; `name()` tells which.
std::unique_ptr<AsyncReader> make_reader(size_t depth);

// Where one read stands: what both backends share.
struct ReadProgress {
  ReadRequest request;
  uint64_t done = 0;  // bytes that have arrived

  // Bytes that can arrive: up to the request's end or the file's end.
  uint64_t wanted() const noexcept;
  // Takes the result of one system call (bytes, or a negative errno). True if the read has ended, with its
  // errno in *error; false if the rest must be asked for again.
  bool advance(int64_t result, int* error) noexcept;
};

}  // namespace sluice
