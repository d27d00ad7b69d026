#include "platform/pressure.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {
namespace {

// A small file of the kernel that is read again and again: kept open.
class KernelFile {
 public:
  KernelFile() = default;
  explicit KernelFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  KernelFile(KernelFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  KernelFile& operator=(KernelFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~KernelFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool is_open() const { return fd_ >= 0; }
  // What it holds now, up to the size of `buffer`; empty if it cannot be read.
  std::string_view read(std::vector<char>& buffer) const {
    if (fd_ < 0) return {};
    const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), 0);
    return {buffer.data(), n > 0 ? static_cast<size_t>(n) : 0};
  }

 private:
  int fd_ = -1;
};

uint64_t number_at(std::string_view text, uint64_t otherwise) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return otherwise;
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return parsed.ec == std::errc() ? value : otherwise;
}

// The number after a line's first word.
uint64_t field(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return number_at(text.substr(at + key.size()), 0);
  }
  return 0;
}

constexpr uint64_t kNone = UINT64_MAX;

// One cgroup of either hierarchy.
class Group {
 public:
  Group(const std::string& directory, bool is_v2)
      : is_v2_(is_v2),
        used_(directory + (is_v2 ? "/memory.current" : "/memory.usage_in_bytes")),
        limit_(directory + (is_v2 ? "/memory.max" : "/memory.limit_in_bytes")),
        events_(directory + (is_v2 ? "/memory.events" : "/memory.failcnt")),
        stat_(directory + "/memory.stat") {
    if (is_v2) high_ = KernelFile(directory + "/memory.high");
  }

  bool is_watched() const { return used_.is_open() && limit_.is_open(); }

  // Bytes that can still be charged to it; kNone without a limit, which may come and go.
  uint64_t free(std::vector<char>& buffer) const {
    uint64_t limit = number_at(limit_.read(buffer), kNone);
    if (high_.is_open()) limit = std::min(limit, number_at(high_.read(buffer), kNone));
    if (limit >= kNone / 4) return kNone;  // v1 spells "none" as the greatest multiple of the page size
    const uint64_t used = number_at(used_.read(buffer), 0);
    const std::string_view stat = stat_.read(buffer);
    const uint64_t file = field(stat, is_v2_ ? "file " : "total_cache ");
    const uint64_t cache = file - std::min(file, field(stat, is_v2_ ? "shmem " : "total_shmem "));
    const uint64_t held = used - std::min(cache, used);
    return limit - std::min(held, limit);
  }

  // How often it ran into its limits, ever.
  uint64_t events(std::vector<char>& buffer) const {
    const std::string_view text = events_.read(buffer);
    return is_v2_ ? field(text, "high ") + field(text, "max ") + field(text, "oom ") : number_at(text, 0);
  }

 private:
  bool is_v2_;
  KernelFile used_, limit_, events_, stat_, high_;
};

// A descriptor that becomes readable (POLLPRI) when somebody was stalled for memory; -1 where there is none.
int open_psi_trigger(const std::string& path) {
  // 20 ms in half a second needs privileges; every user may ask for windows of 2 s.
  for (const std::string_view trigger : {"some 20000 500000", "some 100000 2000000"}) {
    const int fd = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -1;
    if (::write(fd, trigger.data(), trigger.size() + 1) >= 0) return fd;  // the kernel wants the 0 as well
    ::close(fd);
  }
  return -1;
}

class KernelPressure final : public PressureSource {
 public:
  explicit KernelPressure(const PressurePaths& paths) : meminfo_(paths.meminfo), statm_(paths.statm) {
    for (const bool is_v2 : {false, true}) {
      for (const std::string& directory : is_v2 ? paths.groups.v2 : paths.groups.v1) {
        Group group(directory, is_v2);
        if (!group.is_watched()) continue;
        groups_.push_back(std::move(group));
        (is_v2 ? has_v2_ : has_v1_) = true;
      }
    }
    polled_.push_back({::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), POLLIN, 0});
    std::vector<std::string> psi = {paths.psi};
    if (!paths.groups.v2.empty()) psi.push_back(paths.groups.v2.front() + "/memory.pressure");
    for (const std::string& path : psi) {
      if (const int fd = open_psi_trigger(path); fd >= 0) polled_.push_back({fd, POLLPRI, 0});
    }
    n_events_ = count_events();
  }

  ~KernelPressure() override {
    for (const pollfd& polled : polled_) {
      if (polled.fd >= 0) ::close(polled.fd);
    }
  }

  Pressure look(int timeout_ms) override {
    Pressure pressure;
    if (::poll(polled_.data(), polled_.size(), timeout_ms) > 0) {
      uint64_t count;
      if ((polled_[0].revents & POLLIN) != 0) (void)!::read(polled_[0].fd, &count, sizeof count);
      for (size_t i = 1; i < polled_.size(); ++i) {
        if ((polled_[i].revents & (POLLERR | POLLNVAL)) != 0) {  // its cgroup is gone
          ::close(std::exchange(polled_[i].fd, -1));
        } else if ((polled_[i].revents & POLLPRI) != 0) {
          pressure.alarm = true;
        }
      }
    }
    const uint64_t n_events = count_events();
    pressure.alarm |= n_events > std::exchange(n_events_, n_events);
    pressure.free = kNone;
    for (const Group& group : groups_) pressure.free = std::min(pressure.free, group.free(buffer_));
    if (const std::string_view meminfo = meminfo_.read(buffer_); !meminfo.empty()) {
      pressure.free = std::min(pressure.free, field(meminfo, "MemAvailable:") * 1024);
    }
    const std::string_view statm = statm_.read(buffer_);  // "size resident ..." in pages
    const size_t second = statm.find(' ');
    if (second != std::string_view::npos) {
      pressure.own = number_at(statm.substr(second), 0) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    }
    return pressure;
  }

  void wake() noexcept override {
    const uint64_t one = 1;
    (void)!::write(polled_[0].fd, &one, sizeof one);
  }

  std::string describe() const override {
    std::string text;
    const auto add = [&text](const char* what) { text += (text.empty() ? "" : ", ") + std::string(what); };
    if (polled_.size() > 1) add("PSI");
    if (has_v1_) add("cgroup v1");
    if (has_v2_) add("cgroup v2");
    if (meminfo_.is_open()) add("MemAvailable");
    return text;
  }

 private:
  uint64_t count_events() {
    uint64_t n = 0;
    for (const Group& group : groups_) n += group.events(buffer_);
    return n;
  }

  std::vector<Group> groups_;
  bool has_v1_ = false, has_v2_ = false;
  KernelFile meminfo_, statm_;
  std::vector<pollfd> polled_;  // the wake-up first, then PSI
  uint64_t n_events_ = 0;
  std::vector<char> buffer_ = std::vector<char>(16 << 10);
};

}  // namespace

std::unique_ptr<PressureSource> make_pressure_source() {
  return make_pressure_source({.groups = cgroup_directories("memory")});
}

std::unique_ptr<PressureSource> make_pressure_source(const PressurePaths& paths) {
  return std::make_unique<KernelPressure>(paths);
}

}  // namespace sluice
