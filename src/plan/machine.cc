#include "plan/machine.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "platform/async_reader.h"
#include "platform/cgroup.h"
#include "platform/cpu_features.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

std::string first_word(const std::string& text) {
  std::istringstream in(text);
  std::string word;
  in >> word;
  return word;
}

// "always [madvise] never" -> "madvise"
std::string bracketed(const std::string& text) {
  const size_t begin = text.find('['), end = text.find(']');
  return begin < end && end != std::string::npos ? text.substr(begin + 1, end - begin - 1) : std::string();
}

// Bytes behind a key of /proc/meminfo.
uint64_t meminfo(const std::string& text, std::string_view key) {
  const size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10) * 1024;
}

uint64_t throttle_count() {
  uint64_t sum = 0;
  std::error_code error;
  for (fs::directory_iterator cpu("/sys/devices/system/cpu", error), end; !error && cpu != end;
       cpu.increment(error))
    sum += read_kernel_number((cpu->path() / "thermal_throttle/core_throttle_count").string()).value_or(0);
  return sum;
}

double hottest_nvme() {
  double celsius = 0;
  std::error_code error;
  for (fs::directory_iterator sensor("/sys/class/hwmon", error), end; !error && sensor != end;
       sensor.increment(error)) {
    if (first_word(read_kernel_file((sensor->path() / "name").string())) != "nvme") continue;
    const auto milli = read_kernel_number((sensor->path() / "temp1_input").string());
    celsius = std::max(celsius, static_cast<double>(milli.value_or(0)) * 1e-3);
  }
  return celsius;
}

struct FileSystem {
  uint64_t magic;
  const char* name;
  bool network = false;
};
constexpr FileSystem kFileSystems[] = {
    {0xEF53, "ext4"},         {0x58465342, "xfs"},        {0x9123683E, "btrfs"},
    {0x2FC12FC1, "zfs"},      {0xF2F52010, "f2fs"},       {0xCA451A4E, "bcachefs"},
    {0x01021994, "tmpfs"},    {0x794C7630, "overlay"},    {0x65735546, "fuse"},
    {0x6969, "nfs", true},    {0xFE534D42, "smb", true},  {0xFF534D42, "cifs", true},
    {0x01021997, "9p", true}, {0x00C36400, "ceph", true}, {0x6A656A63, "virtiofs"},
    {0x2011BAB0, "exfat"},    {0x4D44, "vfat"},           {0x5346544E, "ntfs"},
    {0x7366746E, "ntfs3"},
};

// A partition has its drive's queue one directory up.
std::optional<bool> is_rotational(const std::string& device) {
  const std::string base = "/sys/dev/block/" + device;
  for (const char* queue : {"/queue/rotational", "/../queue/rotational"})
    if (const auto value = read_kernel_number(base + queue)) return *value != 0;
  return std::nullopt;
}

}  // namespace

MachineFacts look_at_machine() {
  MachineFacts facts;
  facts.cpu = cpu_name();
  facts.cpus_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts.cpus_allowed = physical_cpu_count();
  double load = 0;
  if (::getloadavg(&load, 1) == 1) facts.load = load;
  facts.governor = first_word(read_kernel_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
  facts.throttled = throttle_count();

  const MemoryInfo memory = memory_info();
  facts.memory_bytes = memory.total;
  facts.available_bytes = memory.available;
  facts.cgroup_bytes = memory.cgroup_limit;
  rlimit locked = {};
  if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY)
    facts.memlock_bytes = locked.rlim_cur;
  const std::string text = read_kernel_file("/proc/meminfo");
  facts.swap_bytes = meminfo(text, "SwapTotal:");
  facts.swap_used_bytes = facts.swap_bytes - std::min(facts.swap_bytes, meminfo(text, "SwapFree:"));
  facts.huge_pages = bracketed(read_kernel_file("/sys/kernel/mm/transparent_hugepage/enabled"));
  facts.io_uring = std::string_view(make_reader(1)->name()) == "io_uring";
  return facts;
}

DiskFacts look_at_disk(const std::string& path) {
  struct stat status = {};
  struct statfs system = {};
  if (::stat(path.c_str(), &status) != 0 || ::statfs(path.c_str(), &system) != 0)
    throw_errno(errno, "cannot look at", printable(path));
  DiskFacts facts;
  facts.path = path;
  facts.device = format_string("%u:%u", major(status.st_dev), minor(status.st_dev));
  const auto magic = static_cast<uint64_t>(static_cast<uint32_t>(system.f_type));
  facts.file_system = format_string("0x%llx", static_cast<unsigned long long>(magic));
  for (const FileSystem& known : kFileSystems) {
    if (known.magic != magic) continue;
    facts.file_system = known.name;
    facts.network = known.network;
  }
  facts.memory = facts.file_system == "tmpfs";
  facts.rotational = is_rotational(facts.device);
  facts.celsius = hottest_nvme();
  return facts;
}

}  // namespace sluice
