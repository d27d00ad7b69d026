// How warm the drive is that holds a file, where the kernel shows it (hwmon of NVMe and SATA drives).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

class DriveTemperature {
 public:
  // `device` is the file's st_dev, `sysfs` where the kernel's tree is. Partitions and mapped devices (LVM,
  // RAID, encryption) lead to the drives beneath.
  explicit DriveTemperature(uint64_t device, const std::string& sysfs = "/sys");

  bool is_shown() const { return !sensors_.empty(); }
  // Degrees Celsius of the warmest sensor; nullopt if none can be read now.
  std::optional<double> celsius() const;

 private:
  void find_sensors(const std::string& block_device, int depth);

  std::vector<std::string> sensors_;  // paths, millidegrees
};

}  // namespace sluice
