// What one kind of work asks of a model's experts: how often each was chosen, learned from real routing and
// kept between runs. A profile knows groups and units, as a trace does (store/trace.h). Which profiles a user
// has is engine/task_profiles.h's business; the file is described in docs/formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "store/cache_policy.h"

namespace sluice {

struct TaskProfile {
  std::string model;             // its name, for people
  std::string architecture;      // the same
  uint64_t fingerprint = 0;      // of the model (Model::fingerprint())
  std::vector<uint32_t> groups;  // that have units, ascending: MoE layers
  uint32_t n_units = 0;          // of each group: experts
  uint64_t n_tokens = 0;         // that it was learned from
  int64_t used_at = 0;           // when it last learned, seconds since 1970
  double weight = 0;             // tokens behind `uses`: of n_tokens the older ones count less
  std::vector<float> uses;       // [groups][n_units], at most `weight`

  size_t n_all() const { return groups.size() * n_units; }

  // How often a token chose each unit, [groups][n_units], 0 to 1.
  std::vector<float> rates() const;

  // Of all uses, the share that the hottest `share` of the units have.
  double coverage(double share) const;

  // `counts`, [groups][n_units], are what another n_tokens chose. What was learned before weighs half as much
  // for every kHalfLife tokens that are learned, so that a profile follows its user.
  void learn(std::span<const uint64_t> counts, uint64_t n_tokens);
  static constexpr double kHalfLife = 32768;

  // Both weigh by the tokens behind them. Precondition: of one model.
  void merge(const TaskProfile& other);

  bool is_of_one_model_with(const TaskProfile& other) const {
    return fingerprint == other.fingerprint && groups == other.groups && n_units == other.n_units;
  }
};

// The n units with the highest rates, the highest first, of equals the lowest id; none with a rate of 0.
std::vector<UnitId> hottest_units(std::span<const float> rates, size_t n);

std::vector<std::byte> task_profile_bytes(const TaskProfile& profile);

// From untrusted bytes; `where` names them in Error(kCorrupt, kUnsupported).
TaskProfile parse_task_profile(std::span<const std::byte> bytes, const std::string& where);

// Replaces the file once it is complete. Error(kIo).
void write_task_profile(const std::string& path, const TaskProfile& profile);
TaskProfile read_task_profile(const std::string& path);  // also Error(kNotFound, kIo)

}  // namespace sluice
