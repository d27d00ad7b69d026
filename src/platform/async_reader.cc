#include "platform/async_reader.h"

#include <algorithm>
#include <cerrno>

#include "base/align.h"

namespace sluice {

uint64_t ReadProgress::wanted() const noexcept {
  const uint64_t size = request.file->size();
  return request.offset >= size ? 0 : std::min<uint64_t>(request.bytes, size - request.offset);
}

bool ReadProgress::advance(int64_t result, int* error) noexcept {
  *error = 0;
  if (result == -EINTR || result == -EAGAIN) return false;
  if (result < 0) {
    *error = static_cast<int>(-result);
    return true;
  }
  done += static_cast<uint64_t>(result);
  if (done >= wanted()) return true;
  if (result == 0) {
    *error = EIO;
    return true;
  }
  // Direct reads go on from a whole page; the part of a page that had come is read again.
  if (request.file->mode() == IoMode::kDirect) done = round_down(done, kPageBytes);
  return false;
}

std::string AsyncReader::prepare(std::span<const File* const>, std::span<const std::span<std::byte>>) {
  return {};
}

std::unique_ptr<AsyncReader> make_reader(size_t depth) {
  auto reader = make_uring_reader(depth);
  return reader ? std::move(reader) : make_thread_reader(depth);
}

}  // namespace sluice
