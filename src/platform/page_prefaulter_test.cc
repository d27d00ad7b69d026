#include "platform/page_prefaulter.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sluice {
namespace {

constexpr size_t kBytes = 64 << 20;

bool resident_grows_by(uint64_t before, uint64_t bytes) {
  for (int i = 0; i < 3000; ++i) {
    if (resident_bytes() >= before + bytes) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(PagePrefaulter, TouchesWithoutChanging) {
  const PageBuffer memory(kBytes);
  if (!memory.prefault(0, 1)) GTEST_SKIP() << "skipped: this kernel cannot touch pages for others";
  memory.data()[5 << 20] = std::byte{7};
  const uint64_t before = resident_bytes();
  PagePrefaulter prefaulter;
  prefaulter.start(memory);
  EXPECT_TRUE(resident_grows_by(before, kBytes * 9 / 10));
  EXPECT_EQ(memory.data()[5 << 20], std::byte{7});
  EXPECT_EQ(memory.data()[kBytes - 1], std::byte{0});
}

TEST(PagePrefaulter, LeavesMemoryAloneOnceStopped) {
  const PageBuffer memory(kBytes);
  PagePrefaulter prefaulter;
  prefaulter.start(memory);
  prefaulter.stop();
  memory.give_back(0, kBytes);
  const uint64_t before = resident_bytes();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LT(resident_bytes(), before + kBytes / 8);
  prefaulter.start(memory);  // and again, until it ends
}

TEST(PagePrefaulter, HasNothingToDoForNoMemory) {
  const PageBuffer none;
  PagePrefaulter prefaulter;
  prefaulter.start(none);
}

}  // namespace
}  // namespace sluice
