#include "platform/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"

namespace sluice {

namespace fs = std::filesystem;

namespace {

// Owns a descriptor until release().
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int open_retrying(const char* path, int flags, mode_t permissions = 0) {
  int fd;
  do {
    fd = ::open(path, flags | O_CLOEXEC, permissions);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// Some file systems accept the flag and refuse the reads.
bool direct_reads_work(int fd) {
  alignas(kPageBytes) static thread_local std::byte page[kPageBytes];
  return ::pread(fd, page, sizeof page, 0) >= 0;
}

void write_fully(int fd, std::span<const std::byte> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
      throw_error(ErrorKind::kIo,
                  "cannot write %s: %s after %" PRIu64 " bytes; free some space and try again", path.c_str(),
                  std::strerror(errno), offset);
    }
    if (n < 0) throw_errno(errno, "cannot write", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::shared_ptr<const File> File::open(const std::string& path, IoMode mode) {
  // O_NONBLOCK keeps a FIFO from blocking the open; it is taken back below, since io_uring would otherwise
  // fail reads that have to wait.
  const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
  Descriptor fd(open_retrying(path.c_str(), flags));
  if (fd.get() < 0) throw_errno(errno, "cannot open", path);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) throw_errno(errno, "cannot examine", path);
  if (!S_ISREG(info.st_mode)) {
    throw_error(ErrorKind::kInvalid, "cannot read %s: it is %s, not a regular file", path.c_str(),
                S_ISDIR(info.st_mode) ? "a directory" : "a pipe or device");
  }
  if (mode == IoMode::kDirect) {
    if (::fcntl(fd.get(), F_SETFL, O_DIRECT) != 0 || !direct_reads_work(fd.get())) mode = IoMode::kBuffered;
  }
  if (::fcntl(fd.get(), F_SETFL, mode == IoMode::kDirect ? O_DIRECT : 0) != 0) {
    throw_errno(errno, "cannot set up", path);
  }
  // Reads come in the sizes that are wanted: the kernel's own read-ahead would only multiply them.
  if (mode == IoMode::kBuffered) (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
  const auto size = static_cast<uint64_t>(info.st_size);
  return std::shared_ptr<const File>(new File(path, fd.release(), size, mode));
}

File::File(std::string path, int fd, uint64_t size, IoMode mode)
    : path_(std::move(path)), fd_(fd), size_(size), mode_(mode) {}

File::~File() { ::close(fd_); }

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  SLUICE_CHECK(mode_ == IoMode::kBuffered);
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(errno, "cannot read", path_);
    if (n == 0) {
      throw_error(ErrorKind::kCorrupt,
                  "%s ends at byte %" PRIu64 " where %zu more are needed: fetch it again", path_.c_str(),
                  offset, out.size());
    }
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

std::string read_text_file(const std::string& path, uint64_t max_bytes) {
  const auto file = File::open(path);
  if (file->size() > max_bytes) {
    throw_error(ErrorKind::kInvalid,
                "%s has %" PRIu64 " bytes, more than the %" PRIu64 " that are accepted here", path.c_str(),
                file->size(), max_bytes);
  }
  std::string text(file->size(), '\0');
  file->read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

struct FileWriter::Impl {
  static constexpr size_t kBufferBytes = size_t{1} << 20;

  std::string path;
  std::string temporary;  // empty while the file has no name (O_TMPFILE): nothing to clean up even if killed
  int fd = -1;
  uint64_t flushed = 0;           // bytes in the file
  std::vector<std::byte> buffer;  // bytes after them
  bool committed = false;

  ~Impl() {
    if (fd >= 0) ::close(fd);
    if (!temporary.empty() && !committed) ::unlink(temporary.c_str());
  }

  void flush() {
    write_fully(fd, buffer, flushed, path);
    flushed += buffer.size();
    buffer.clear();
  }

  std::string next_temporary_name() const {
    static std::atomic<unsigned> counter = 0;
    return format_string("%s.%d-%u.tmp", path.c_str(), static_cast<int>(::getpid()), counter.fetch_add(1));
  }

  // Gives the nameless file a temporary name, for rename() to move over the target.
  void link_nameless() {
    const std::string self = format_string("/proc/self/fd/%d", fd);
    const std::string name = next_temporary_name();
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      throw_errno(errno, "cannot create", name);
    }
    temporary = name;
  }
};

FileWriter::FileWriter(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw_error(ErrorKind::kInvalid, "cannot write %s: it is %s, not a regular file", path.c_str(),
                S_ISDIR(info.st_mode) ? "a directory" : "a pipe or device");
  }
  constexpr mode_t kPermissions = 0666;  // the umask takes its share
  impl_->fd = open_retrying(directory_of(path).c_str(), O_TMPFILE | O_RDWR, kPermissions);
  if (impl_->fd < 0) {
    const std::string name = impl_->next_temporary_name();
    impl_->fd = open_retrying(name.c_str(), O_RDWR | O_CREAT | O_EXCL, kPermissions);
    if (impl_->fd < 0) throw_errno(errno, "cannot create", path);
    impl_->temporary = name;
  }
  impl_->buffer.reserve(Impl::kBufferBytes);
}

FileWriter::~FileWriter() = default;

void FileWriter::write(std::span<const std::byte> bytes) {
  if (impl_->buffer.size() + bytes.size() > Impl::kBufferBytes) impl_->flush();
  if (bytes.size() >= Impl::kBufferBytes) {
    write_fully(impl_->fd, bytes, impl_->flushed, impl_->path);
    impl_->flushed += bytes.size();
  } else {
    impl_->buffer.insert(impl_->buffer.end(), bytes.begin(), bytes.end());
  }
}

void FileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  SLUICE_CHECK(offset <= size() && bytes.size() <= size() - offset, "offset %" PRIu64, offset);
  impl_->flush();
  write_fully(impl_->fd, bytes, offset, impl_->path);
}

void FileWriter::pad_to(uint64_t alignment) {
  static constexpr std::byte kZeros[kPageBytes] = {};
  uint64_t missing = div_up(size(), alignment) * alignment - size();
  while (missing > 0) {
    const size_t n = std::min<uint64_t>(missing, sizeof kZeros);
    write({kZeros, n});
    missing -= n;
  }
}

uint64_t FileWriter::size() const noexcept { return impl_->flushed + impl_->buffer.size(); }

void FileWriter::commit() {
  SLUICE_CHECK(!impl_->committed);
  impl_->flush();
  if (::fsync(impl_->fd) != 0) throw_errno(errno, "cannot write", impl_->path);
  if (impl_->temporary.empty()) impl_->link_nameless();
  if (::rename(impl_->temporary.c_str(), impl_->path.c_str()) != 0) {
    throw_errno(errno, "cannot create", impl_->path);
  }
  impl_->committed = true;
  // The new name must survive a power failure too; a file system that cannot sync directories is left alone.
  const Descriptor directory(open_retrying(directory_of(impl_->path).c_str(), O_RDONLY | O_DIRECTORY));
  if (directory.get() >= 0) (void)::fsync(directory.get());
}

DirectoryWriter::DirectoryWriter(const std::string& path)
    : path_(path.substr(0, std::max<size_t>(path.find_last_not_of('/') + 1, 1))),
      temporary_(format_string("%s.%d.tmp", path_.c_str(), static_cast<int>(::getpid()))) {
  std::error_code error;
  const bool is_empty = fs::is_directory(path_, error) && fs::is_empty(path_, error);
  if (fs::exists(path_, error) && !is_empty) {
    throw_error(ErrorKind::kInvalid, "%s exists already; remove it or choose another name",
                printable(path_).c_str());
  }
  if (::mkdir(temporary_.c_str(), 0777) != 0) throw_errno(errno, "cannot create", path_);
}

DirectoryWriter::~DirectoryWriter() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

std::string DirectoryWriter::file(std::string_view name) const {
  return (fs::path(temporary_) / name).string();
}

void DirectoryWriter::commit() {
  SLUICE_CHECK(!committed_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw_errno(errno, "cannot create", path_);
  committed_ = true;
}

}  // namespace sluice
