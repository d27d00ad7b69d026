#include "platform/cgroup.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>

namespace sluice {
namespace {

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const size_t comma = options.find(',');
    if (options.substr(0, comma) == wanted) return true;
    if (comma == std::string_view::npos) return false;
    options.remove_prefix(comma + 1);
  }
  return false;
}

// The path of the process in the hierarchy that `wanted(controllers)` picks; lines are "id:controllers:path".
template <typename Wanted>
std::optional<std::string> group_path(const std::string& self_cgroup, Wanted wanted) {
  std::istringstream lines(self_cgroup);
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    if (wanted(std::string_view(line).substr(first + 1, second - first - 1))) return line.substr(second + 1);
  }
  return std::nullopt;
}

// `path` below a mount that shows the tree from `root` on, and every directory above it up to the mount.
std::vector<std::string> upwards(const std::string& mount, const std::string& root, std::string path) {
  if (root != "/") {
    const bool below =
        path.compare(0, root.size(), root) == 0 && (path.size() == root.size() || path[root.size()] == '/');
    path = below ? path.substr(root.size()) : "";
  }
  if (path.find("/..") != std::string::npos) path.clear();  // outside of the namespace
  std::vector<std::string> directories;
  while (!path.empty() && path != "/") {
    directories.push_back(mount + path);
    path.resize(path.rfind('/'));
  }
  directories.push_back(mount);
  return directories;
}

}  // namespace

CgroupDirectories parse_cgroups(std::string_view controller, const std::string& self_cgroup,
                                const std::string& mountinfo) {
  const auto v1_path =
      group_path(self_cgroup, [&](std::string_view names) { return has_option(names, controller); });
  const auto v2_path = group_path(self_cgroup, [](std::string_view names) { return names.empty(); });

  CgroupDirectories found;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    // "id parent major:minor root mount options [fields...] - type source super-options"
    std::istringstream fields(line);
    std::string skipped, root, mount, field, type, source, options;
    fields >> skipped >> skipped >> skipped >> root >> mount;
    while (fields >> field && field != "-") {
    }
    fields >> type >> source >> options;
    if (type == "cgroup" && v1_path && found.v1.empty() && has_option(options, controller)) {
      found.v1 = upwards(mount, root, *v1_path);
    } else if (type == "cgroup2" && v2_path && found.v2.empty()) {
      found.v2 = upwards(mount, root, *v2_path);
    }
  }
  return found;
}

CgroupDirectories cgroup_directories(std::string_view controller) {
  return parse_cgroups(controller, read_kernel_file("/proc/self/cgroup"),
                       read_kernel_file("/proc/self/mountinfo"));
}

std::string read_kernel_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::optional<uint64_t> read_kernel_number(const std::string& path) {
  const std::string text = read_kernel_file(path);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace sluice
