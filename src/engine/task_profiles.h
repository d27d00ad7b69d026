// The user's task profiles (store/task_profile.h): one file for each task and model in
// $XDG_STATE_HOME/sluice/profiles, named TASK.FINGERPRINT.profile, so that one name serves every model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/task_profile.h"

namespace sluice {

struct StoredProfile {
  std::string task;
  uint64_t fingerprint = 0;  // by the file's name
  std::string path;
  TaskProfile profile;
  std::string damage;  // why the file cannot be read; `profile` is empty then
};

// Error(kInvalid) for what is no name: up to 64 letters, digits, "-", "_" and ".", not a "." first.
void check_task_name(const std::string& task);

// "1f00c0ffee00ba11".
std::string fingerprint_text(uint64_t fingerprint);

// Where the profile of a task and a model is or would be. Error(kInvalid) for no name, or where there is no
// home.
std::string task_profile_path(const std::string& task, uint64_t fingerprint);

// nullopt if there is none. Error: kInvalid for a file that holds another model's profile; as
// read_task_profile().
std::optional<TaskProfile> load_task_profile(const std::string& task, uint64_t fingerprint);

// Makes the directory. Error(kIo).
void save_task_profile(const std::string& task, const TaskProfile& profile);

// All of them, by task and model. Error(kIo).
std::vector<StoredProfile> list_task_profiles();

}  // namespace sluice
