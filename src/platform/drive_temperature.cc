#include "platform/drive_temperature.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "platform/cgroup.h"

namespace sluice {

namespace fs = std::filesystem;

namespace {

std::vector<fs::path> entries(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool begins_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

}  // namespace

DriveTemperature::DriveTemperature(uint64_t device, const std::string& sysfs) {
  const std::string numbers = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  find_sensors((fs::path(sysfs) / "dev/block" / numbers).string(), 0);
}

void DriveTemperature::find_sensors(const std::string& block_device, int depth) {
  constexpr int kDeepest = 4;  // encryption on a volume on a RAID of partitions
  std::error_code error;
  fs::path drive = fs::canonical(block_device, error);
  if (error || depth > kDeepest) return;
  if (fs::exists(drive / "partition", error)) drive = drive.parent_path();
  for (const fs::path& below : entries(drive / "slaves")) find_sensors(below.string(), depth + 1);
  // NVMe has hwmonN in the device's directory, SATA in hwmon/ there.
  for (const fs::path& directory : {drive / "device", drive / "device/hwmon"}) {
    for (const fs::path& monitor : entries(directory)) {
      const std::string monitor_name = monitor.filename().string();
      if (!begins_with(monitor_name, "hwmon") || monitor_name == "hwmon") continue;
      for (const fs::path& input : entries(monitor)) {
        const std::string name = input.filename().string();
        if (begins_with(name, "temp") && name.find("_input") != std::string::npos)
          sensors_.push_back(input.string());
      }
    }
  }
}

std::optional<double> DriveTemperature::celsius() const {
  std::optional<double> warmest;
  for (const std::string& sensor : sensors_) {
    const std::optional<uint64_t> milli = read_kernel_number(sensor);  // below zero nobody needs it
    if (milli) warmest = std::max(warmest.value_or(0), static_cast<double>(*milli) / 1000);
  }
  return warmest;
}

}  // namespace sluice
