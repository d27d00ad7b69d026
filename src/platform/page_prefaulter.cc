#include "platform/page_prefaulter.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

namespace sluice {
namespace {

// A huge page. Between pieces others get at the address space, however seldom this thread runs.
constexpr size_t kPiece = 2 << 20;
constexpr int kLeastUrgent = 19;

}  // namespace

void PagePrefaulter::start(const PageBuffer& memory) {
  stop();
  is_stopped_ = false;
  const auto touch = [this, &memory] {
    const auto self = static_cast<id_t>(::syscall(SYS_gettid));
    (void)::setpriority(PRIO_PROCESS, self, kLeastUrgent);  // of this thread alone
    for (size_t begin = 0; begin < memory.size() && !is_stopped_; begin += kPiece) {
      if (!memory.prefault(begin, std::min(begin + kPiece, memory.size()))) return;
    }
  };
  try {
    thread_ = std::thread(touch);
  } catch (const std::system_error&) {  // the reads touch it then
  }
}

void PagePrefaulter::stop() noexcept {
  is_stopped_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace sluice
