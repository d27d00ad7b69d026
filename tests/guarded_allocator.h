// Memory that ends at a page nobody may touch: reading one byte beyond it is a fault, in every build and also
// in code that sanitizers do not see.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>
#include <vector>

namespace sluice::test {

template <typename T>
struct GuardedAllocator {
  static_assert(alignof(T) == 1, "the end of the memory is aligned, its beginning is not");
  using value_type = T;

  GuardedAllocator() = default;
  template <typename U>
  explicit GuardedAllocator(const GuardedAllocator<U>&) {}

  T* allocate(size_t n) {
    const Room room(n);
    void* const base =
        mmap(nullptr, room.bytes + room.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    auto* const end = static_cast<char*>(base) + room.bytes;
    if (mprotect(end, room.page, PROT_NONE) != 0) throw std::bad_alloc();
    return reinterpret_cast<T*>(end - n);
  }
  void deallocate(T* data, size_t n) {
    const Room room(n);
    munmap(reinterpret_cast<char*>(data) + n - room.bytes, room.bytes + room.page);
  }
  bool operator==(const GuardedAllocator&) const { return true; }

 private:
  struct Room {
    explicit Room(size_t n)
        : page(static_cast<size_t>(sysconf(_SC_PAGESIZE))), bytes((n + page - 1) / page * page) {}
    size_t page;
    size_t bytes;  // n in whole pages
  };
};

using GuardedBytes = std::vector<std::byte, GuardedAllocator<std::byte>>;

}  // namespace sluice::test
