#include "engine/task_profiles.h"

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <filesystem>
#include <tuple>

#include "base/environment.h"
#include "base/error.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".profile";
constexpr size_t kFingerprintDigits = 16;
constexpr size_t kMaxName = 64;

bool is_task_name(std::string_view task) {
  return !task.empty() && task.size() <= kMaxName && task[0] != '.' &&
         std::all_of(task.begin(), task.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

fs::path profile_directory() {
  const std::string state = state_directory();
  if (state.empty())
    throw_error(ErrorKind::kInvalid, "no home directory to keep task profiles in: set XDG_STATE_HOME");
  return fs::path(state) / "profiles";
}

// The task and the fingerprint that a file's name tells; nullopt for other files.
std::optional<StoredProfile> parse_file_name(std::string_view name) {
  const size_t tail = 1 + kFingerprintDigits + kSuffix.size();
  if (name.size() <= tail || !name.ends_with(kSuffix)) return std::nullopt;
  StoredProfile stored;
  stored.task = name.substr(0, name.size() - tail);
  const std::string_view digits = name.substr(stored.task.size() + 1, kFingerprintDigits);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), stored.fingerprint, 16);
  const bool is_ours = is_task_name(stored.task) && name[stored.task.size()] == '.' &&
                       parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  if (!is_ours) return std::nullopt;
  return stored;
}

// Holds what a file says of its model against its name.
TaskProfile read_checked(const std::string& path, uint64_t fingerprint) {
  TaskProfile profile = read_task_profile(path);
  if (profile.fingerprint != fingerprint)
    throw_error(ErrorKind::kInvalid,
                "%s holds a profile of %s (%s), another model than its name says: give it its name back, or "
                "remove it (sluice profile delete)",
                path.c_str(), printable(profile.model).c_str(),
                fingerprint_text(profile.fingerprint).c_str());
  return profile;
}

}  // namespace

void check_task_name(const std::string& task) {
  if (!is_task_name(task))
    throw_error(
        ErrorKind::kInvalid,
        "\"%s\" is no name for a task: take up to %zu letters, digits, -, _ and ., for instance coding",
        printable(task).c_str(), kMaxName);
}

std::string fingerprint_text(uint64_t fingerprint) { return format_string("%016" PRIx64, fingerprint); }

std::string task_profile_path(const std::string& task, uint64_t fingerprint) {
  check_task_name(task);
  return (profile_directory() / (task + "." + fingerprint_text(fingerprint) + std::string(kSuffix))).string();
}

std::optional<TaskProfile> load_task_profile(const std::string& task, uint64_t fingerprint) {
  const std::string path = task_profile_path(task, fingerprint);
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return read_checked(path, fingerprint);
}

void save_task_profile(const std::string& task, const TaskProfile& profile) {
  const std::string path = task_profile_path(task, profile.fingerprint);
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) throw_errno(error.value(), "cannot create", fs::path(path).parent_path().string());
  write_task_profile(path, profile);
}

std::vector<StoredProfile> list_task_profiles() {
  std::vector<StoredProfile> all;
  const fs::path directory = profile_directory();
  std::error_code error;
  if (!fs::exists(directory, error)) return all;
  fs::directory_iterator entries(directory, error);
  if (error) throw_errno(error.value(), "cannot list", directory.string());
  for (const fs::directory_entry& entry : entries) {
    std::optional<StoredProfile> stored = parse_file_name(entry.path().filename().string());
    if (!stored) continue;
    stored->path = entry.path().string();
    try {
      stored->profile = read_checked(stored->path, stored->fingerprint);
    } catch (const Error& damage) {
      stored->damage = damage.what();
    }
    all.push_back(std::move(*stored));
  }
  std::sort(all.begin(), all.end(), [](const StoredProfile& a, const StoredProfile& b) {
    return std::tie(a.task, a.fingerprint) < std::tie(b.task, b.fingerprint);
  });
  return all;
}

}  // namespace sluice
