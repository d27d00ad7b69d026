#include "platform/drive_temperature.h"
#include "tests/scratch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>

namespace sluice {
namespace {

namespace fs = std::filesystem;

class DriveTemperatureTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { scratch_.write(name, text); }
  void link(const std::string& name, const std::string& target) const {
    fs::create_directories((root_ / name).parent_path());
    fs::create_symlink(root_ / target, root_ / name);
  }
  DriveTemperature drive(unsigned major_number, unsigned minor_number) const {
    return DriveTemperature(makedev(major_number, minor_number), root_.string());
  }

  test::Scratch scratch_;
  fs::path root_ = scratch_.path();
};

TEST_F(DriveTemperatureTest, OfAPartitionOfAnNvmeDrive) {
  write("devices/nvme0/hwmon3/temp1_input", "41850\n");
  write("devices/nvme0/hwmon3/temp2_input", "66350\n");
  write("devices/nvme0/hwmon3/temp1_max", "99000\n");
  write("devices/nvme0/nvme0n1/nvme0n1p2/partition", "2\n");
  link("devices/nvme0/nvme0n1/device", "devices/nvme0");
  link("dev/block/259:2", "devices/nvme0/nvme0n1/nvme0n1p2");
  const DriveTemperature temperature = drive(259, 2);
  EXPECT_TRUE(temperature.is_shown());
  EXPECT_DOUBLE_EQ(temperature.celsius().value(), 66.35);
  write("devices/nvme0/hwmon3/temp2_input", "30000\n");
  EXPECT_DOUBLE_EQ(temperature.celsius().value(), 41.85);
}

TEST_F(DriveTemperatureTest, OfTheWarmestDriveBelowAMappedDevice) {
  for (const char* name : {"sda", "sdb"}) {
    const std::string disk = std::string("devices/") + name + "/block/" + name;
    write(std::string("devices/") + name + "/hwmon/hwmon1/temp1_input", name[2] == 'a' ? "35000" : "52000");
    fs::create_directories(root_ / disk);
    link(disk + "/device", std::string("devices/") + name);
    link(std::string("devices/dm-0/slaves/") + name, disk);
  }
  link("dev/block/253:0", "devices/dm-0");
  EXPECT_DOUBLE_EQ(drive(253, 0).celsius().value(), 52.0);
}

TEST_F(DriveTemperatureTest, IsUnknownWhereNothingIsShown) {
  EXPECT_FALSE(drive(8, 1).is_shown());
  EXPECT_EQ(drive(8, 1).celsius(), std::nullopt);
  struct stat info;
  ASSERT_EQ(::stat("/proc/self/exe", &info), 0);
  const DriveTemperature ours(info.st_dev);  // whatever this machine has
  EXPECT_LT(ours.celsius().value_or(0), 150);
}

}  // namespace
}  // namespace sluice
