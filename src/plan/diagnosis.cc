#include "plan/diagnosis.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace sluice {
namespace {

constexpr double kSlowDisk = 0.5e9;    // bytes per second: what a SATA drive gives
constexpr double kSeekingDisk = 30e6;  // reads of 64 KiB, one at a time, that a rotating disk cannot give
constexpr double kUnsteady = 3;        // times faster at one moment than at another
constexpr double kHotDrive = 70;       // degrees; drives slow down from about here

std::string rate(double bytes_per_second) { return format_string("%.2f GB/s", bytes_per_second * 1e-9); }

void diagnose_disk(const HardwareProfile& p, std::vector<Finding>& list) {
  const DiskFacts& d = p.disk_facts;
  const std::string where = printable(d.path);
  if (d.network)
    list.push_back({true, where + " is on a network file system (" + d.file_system + ").",
                    "Keep models on a drive of this machine."});
  // Virtual drives call themselves rotating whatever they are; seeking shows it.
  if (d.rotational.value_or(false) && p.disk_speed(kMiB / 16, 1) < kSeekingDisk)
    list.push_back({true, where + " is on a rotating disk, which is slow at anything but long reads.",
                    "Keep models on an SSD."});
  if (d.memory)
    list.push_back({false, where + " is in memory (tmpfs): no disk was measured.",
                    "Give the directory where your models are with --path."});
  if (!p.has_direct())
    list.push_back({true,
                    "The file system (" + d.file_system +
                        ") has no O_DIRECT, so every read goes through the "
                        "page cache, is copied, and pushes other pages out.",
                    "Keep models on ext4, xfs or btrfs."});
  const double best = std::max(p.disk_sequential(true), p.disk_speed(kMiB, 32));
  const auto [slow, fast] = std::minmax({p.disk_sequential(true), p.disk_sequential(false)});
  if (!d.memory && p.has_direct() && slow * kUnsteady < fast)
    list.push_back(
        {true,
         format_string("The disk gave %.2f and %.2f GB/s in order, from one second to the next, as "
                       "drives do that fetch blocks from elsewhere when they are first read.",
                       slow * 1e-9, fast * 1e-9),
         "Read models once before they are measured (cat FILE > /dev/null); run sluice doctor again."});
  else if (!d.memory && best < kSlowDisk)
    list.push_back({true, "The disk gives " + rate(best) + ": what does not fit in memory will come slowly.",
                    "Choose models that fit (sluice browse), a larger --ram, or an NVMe drive."});
  if (p.has_direct() && best >= kSlowDisk) {
    const double one = p.disk_speed(kMiB / 4, 1), many = p.disk_speed(kMiB / 4, 32);
    if (many > 3 * one)
      list.push_back(
          {false,
           "One read of 256 KiB at a time gives " + rate(one) + ", 32 together " + rate(many) +
               ". Sluice keeps many in flight, but a cache that misses seldom will see the former.",
           ""});
  }
  if (d.celsius >= kHotDrive)
    list.push_back({true, format_string("An NVMe drive is at %.0f degrees and may slow down.", d.celsius),
                    "Give it air or a heat sink."});
}

void diagnose_memory(const HardwareProfile& p, std::vector<Finding>& list) {
  const MachineFacts& m = p.machine;
  if (m.cgroup_bytes < m.memory_bytes)
    list.push_back({false,
                    "A control group limits this process to " + format_bytes(m.cgroup_bytes) + " of the " +
                        format_bytes(m.memory_bytes) + " that the machine has.",
                    "Raise the container's or the service's memory limit, if that is not meant."});
  if (m.swap_used_bytes > 256 * kMiB)
    list.push_back(
        {true, format_bytes(m.swap_used_bytes) + " of swap are in use: memory has been short.",
         "Close other programs or choose a smaller --ram; weights in swap are slower than read anew."});
  if (m.memlock_bytes < m.memory_bytes && m.swap_bytes > 0)
    list.push_back({false,
                    "Only " + format_bytes(m.memlock_bytes) +
                        " may be locked in memory (RLIMIT_MEMLOCK), and "
                        "the system may swap the rest out.",
                    "ulimit -l unlimited, or memlock in /etc/security/limits.conf."});
  const bool huge =
      std::any_of(p.reads.begin(), p.reads.end(), [](const ReadPeak& r) { return r.huge_pages; });
  if (!huge)
    list.push_back({true,
                    m.huge_pages == "never" ? std::string("Huge pages are switched off.")
                                            : std::string("The system gave no huge pages."),
                    m.huge_pages == "never"
                        ? "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
                        : "Memory may be fragmented: echo 1 | sudo tee /proc/sys/vm/compact_memory"});
}

void diagnose_processor(const HardwareProfile& p, std::vector<Finding>& list) {
  const MachineFacts& m = p.machine;
  if (!m.io_uring)
    list.push_back({true, "io_uring is not available, so reads need threads and more of the CPU.",
                    "sysctl kernel.io_uring_disabled=0, or a container profile that allows it."});
  if (m.cpus_allowed < m.cpus_online)
    list.push_back({false,
                    format_string("This process may use %d of %d CPUs.", m.cpus_allowed, m.cpus_online),
                    "Raise the container's CPU quota or the affinity (taskset), if that is not meant."});
  if (m.governor == "powersave")
    list.push_back({false, "The CPUs' governor is powersave, which may keep them slow.",
                    "sudo cpupower frequency-set -g performance"});
  if (m.throttled > 0)
    list.push_back({true,
                    format_string("The CPUs slowed down for heat %llu times while this was measured.",
                                  static_cast<unsigned long long>(m.throttled)),
                    "Give the machine air; laptops are faster on mains."});
  if (m.load > 0.5 * m.cpus_online)
    list.push_back({true,
                    format_string("Other programs were busy (load %.1f on %d CPUs), so all numbers are low.",
                                  m.load, m.cpus_online),
                    "Run sluice doctor again when the machine is quiet."});
}

}  // namespace

std::vector<Finding> diagnose(const HardwareProfile& profile) {
  std::vector<Finding> list;
  diagnose_disk(profile, list);
  diagnose_memory(profile, list);
  diagnose_processor(profile, list);
  std::stable_sort(list.begin(), list.end(),
                   [](const Finding& a, const Finding& b) { return a.problem > b.problem; });
  return list;
}

}  // namespace sluice
