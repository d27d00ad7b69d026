// Asynchronous reads by io_uring (Linux 5.6 and later, where a container or RLIMIT_MEMLOCK does not forbid
// it).
#include "platform/async_reader.h"

#ifdef SLUICE_HAVE_URING

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace sluice {
namespace {

constexpr size_t kMaxDepth = 1024;
// A buffered read that the page cache can answer is copied inside the submission, by the submitting thread
// alone. From this size on the copy is worth handing to the kernel's own workers, which run in parallel.
constexpr uint32_t kParallelCopyBytes = 128 << 10;

class UringReader final : public AsyncReader {
 public:
  // nullptr where io_uring is not to be had.
  static std::unique_ptr<AsyncReader> create(size_t depth) {
    std::unique_ptr<UringReader> reader(new UringReader(std::clamp<size_t>(depth, 1, kMaxDepth)));
    if (!reader->open_ring() || !reader->works()) return nullptr;
    reader->listen_for_wake();
    return reader;
  }

  ~UringReader() override {
    if (is_open_) {
      ReadCompletion dropped[16];
      while (in_flight_ > 0) collect(dropped, true);
      io_uring_queue_exit(&ring_);
    }
    if (wake_fd_ >= 0) ::close(wake_fd_);
  }

  size_t submit(std::span<const ReadRequest> requests) override {
    const size_t n = std::min(requests.size(), free_.size());
    for (size_t i = 0; i < n; ++i) {
      const uint32_t slot = free_.back();
      free_.pop_back();
      reads_[slot] = {requests[i]};
      enqueue(slot);
    }
    in_flight_ += n;
    if (n > 0) io_uring_submit(&ring_);  // what it could not take stays queued for the next call
    return n;
  }

  size_t collect(std::span<ReadCompletion> out, bool block) override {
    size_t n = 0;
    bool woken = false;
    while (in_flight_ > 0 && n < out.size()) {
      if (io_uring_sq_ready(&ring_) > 0) io_uring_submit(&ring_);
      io_uring_cqe* cqe = nullptr;
      const bool wait = block && n == 0 && !woken;
      const int error = wait ? io_uring_wait_cqe(&ring_, &cqe) : io_uring_peek_cqe(&ring_, &cqe);
      if (error == -EAGAIN && !wait) break;
      if (error < 0) continue;  // EINTR, or the kernel was short of memory
      const uint64_t tag = cqe->user_data;
      const int64_t result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      if (tag == kWakeTag) {
        woken = true;
        uint64_t count;
        (void)!::read(wake_fd_, &count, sizeof count);
        listen_for_wake();
        continue;
      }
      const auto slot = static_cast<uint32_t>(tag);
      int read_error = 0;
      if (!reads_[slot].advance(result, &read_error)) {
        enqueue(slot);
        continue;
      }
      out[n++] = {reads_[slot].request.tag, read_error};
      free_.push_back(slot);
      --in_flight_;
    }
    if (io_uring_sq_ready(&ring_) > 0) io_uring_submit(&ring_);
    return n;
  }

  void wake() noexcept override {
    const uint64_t one = 1;
    (void)!::write(wake_fd_, &one, sizeof one);  // fails only if it is already full, and then readable
  }

  std::string prepare(std::span<const File* const> files,
                      std::span<const std::span<std::byte>> memory) override {
    std::vector<int> descriptors;
    for (const File* file : files) descriptors.push_back(file->descriptor());
    if (!files.empty() &&
        io_uring_register_files(&ring_, descriptors.data(), static_cast<unsigned>(descriptors.size())) == 0) {
      for (size_t i = 0; i < files.size(); ++i) file_index_[files[i]] = static_cast<int>(i);
    }
    std::vector<iovec> buffers;
    for (const std::span<std::byte> span : memory) {
      for (size_t at = 0; at < span.size(); at += kMaxBuffer) {
        buffers.push_back({span.data() + at, std::min(kMaxBuffer, span.size() - at)});
      }
    }
    // Counts against RLIMIT_MEMLOCK.
    if (!buffers.empty() &&
        io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size())) == 0) {
      buffers_ = std::move(buffers);
    }
    std::string what = file_index_.empty() ? "" : "files";
    if (!buffers_.empty()) what += what.empty() ? "buffers" : " and buffers";
    return what.empty() ? what : what + " registered";
  }

  size_t in_flight() const noexcept override { return in_flight_; }
  const char* name() const noexcept override { return "io_uring"; }

 private:
  explicit UringReader(size_t depth) : reads_(depth) {
    for (size_t slot = depth; slot-- > 0;) free_.push_back(static_cast<uint32_t>(slot));
  }

  bool open_ring() {
    const auto entries = static_cast<unsigned>(reads_.size() + 1);  // and the wait for wake()
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) return false;
    // Old kernels do not know the flag, which saves interrupts.
    is_open_ = io_uring_queue_init(entries, &ring_, IORING_SETUP_COOP_TASKRUN) == 0 ||
               io_uring_queue_init(entries, &ring_, 0) == 0;
    return is_open_;
  }

  // Some sandboxes allow the setup and forbid the rest: one empty operation must go through, and reads must
  // be known.
  bool works() {
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    const bool reads_known = io_uring_opcode_supported(probe, IORING_OP_READ) != 0;
    io_uring_free_probe(probe);
    if (!reads_known) return false;
    io_uring_prep_nop(io_uring_get_sqe(&ring_));
    io_uring_cqe* cqe = nullptr;
    if (io_uring_submit_and_wait(&ring_, 1) < 0 || io_uring_peek_cqe(&ring_, &cqe) < 0) return false;
    io_uring_cqe_seen(&ring_, cqe);
    return true;
  }

  void listen_for_wake() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    SLUICE_CHECK(sqe != nullptr);
    io_uring_prep_poll_add(sqe, wake_fd_, POLLIN);
    sqe->user_data = kWakeTag;
  }

  void enqueue(uint32_t slot) {
    const ReadProgress& read = reads_[slot];
    const ReadRequest& request = read.request;
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    SLUICE_CHECK(sqe != nullptr, "more reads than the queue has room for");
    const auto bytes = static_cast<uint32_t>(request.bytes - read.done);
    std::byte* const data = request.data + read.done;
    const auto file = file_index_.find(request.file);
    const int fd = file == file_index_.end() ? request.file->descriptor() : file->second;
    const int buffer = find_buffer(data, bytes);
    if (buffer >= 0) {
      io_uring_prep_read_fixed(sqe, fd, data, bytes, request.offset + read.done, buffer);
    } else {
      io_uring_prep_read(sqe, fd, data, bytes, request.offset + read.done);
    }
    if (file != file_index_.end()) sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = slot;
    if (request.file->mode() == IoMode::kBuffered && bytes >= kParallelCopyBytes) sqe->flags |= IOSQE_ASYNC;
  }

  int find_buffer(const std::byte* data, uint32_t bytes) const {
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const auto* const begin = static_cast<const std::byte*>(buffers_[i].iov_base);
      if (data >= begin && data + bytes <= begin + buffers_[i].iov_len) return static_cast<int>(i);
    }
    return -1;
  }

  static constexpr uint64_t kWakeTag = UINT64_MAX;
  static constexpr size_t kMaxBuffer = size_t{1} << 30;  // the kernel's bound on one

  io_uring ring_ = {};
  int wake_fd_ = -1;
  bool is_open_ = false;
  size_t in_flight_ = 0;
  std::vector<ReadProgress> reads_;                  // [depth]
  std::vector<uint32_t> free_;                       // indices of reads_ that are not in flight
  std::unordered_map<const File*, int> file_index_;  // of registered files
  std::vector<iovec> buffers_;                       // registered
};

}  // namespace

std::unique_ptr<AsyncReader> make_uring_reader(size_t depth) { return UringReader::create(depth); }

}  // namespace sluice

#else

namespace sluice {

std::unique_ptr<AsyncReader> make_uring_reader(size_t) { return nullptr; }

}  // namespace sluice

#endif
