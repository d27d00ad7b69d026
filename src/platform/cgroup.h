// Where the control groups of this process are, in both hierarchies (v1 and v2), also inside containers that
// mount a part of the tree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct CgroupDirectories {
  std::vector<std::string> v1;  // from the process's own group up to the mount's root
  std::vector<std::string> v2;
};

// For a controller such as "memory" or "cpu". Empty lists where there is none.
CgroupDirectories cgroup_directories(std::string_view controller);

// The same from the texts of /proc/self/cgroup and /proc/self/mountinfo, for tests.
CgroupDirectories parse_cgroups(std::string_view controller, const std::string& self_cgroup,
                                const std::string& mountinfo);

// The whole of a small file of /proc or /sys; empty if it cannot be read.
std::string read_kernel_file(const std::string& path);

// The number at its start; nullopt for "max", "-1" and files that are not there.
std::optional<uint64_t> read_kernel_number(const std::string& path);

}  // namespace sluice
