#include "store/task_profile.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "platform/file.h"
#include "store/byte_cursor.h"

namespace sluice {
namespace {

constexpr char kMagic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'T', 'P'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxName = 4096;
constexpr uint32_t kMaxGroups = 4096;
constexpr uint32_t kMaxUnits = 65536;
constexpr uint64_t kMaxFile = uint64_t{64} << 20;  // 16 million experts
constexpr double kMaxWeight = 1e15;
constexpr const char* kKind = "a task profile";
constexpr const char* kRemedy = "remove it (sluice profile delete) and let it be learned again";

}  // namespace

std::vector<float> TaskProfile::rates() const {
  std::vector<float> rates(uses.size(), 0);
  if (weight <= 0) return rates;
  for (size_t i = 0; i < uses.size(); ++i)
    rates[i] = static_cast<float>(std::min(static_cast<double>(uses[i]) / weight, 1.0));
  return rates;
}

double TaskProfile::coverage(double share) const {
  std::vector<float> sorted = uses;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double all = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  const auto n = static_cast<ptrdiff_t>(std::llround(share * static_cast<double>(sorted.size())));
  return all > 0 ? std::accumulate(sorted.begin(), sorted.begin() + n, 0.0) / all : 0;
}

void TaskProfile::learn(std::span<const uint64_t> counts, uint64_t n_new) {
  SLUICE_CHECK(counts.size() == n_all() && (uses.empty() || uses.size() == n_all()));
  uses.resize(n_all());
  const double kept = std::exp2(-static_cast<double>(n_new) / kHalfLife);
  for (size_t i = 0; i < uses.size(); ++i)
    uses[i] = static_cast<float>(kept * static_cast<double>(uses[i]) +
                                 static_cast<double>(std::min(counts[i], n_new)));
  weight = kept * weight + static_cast<double>(n_new);
  n_tokens += n_new;
}

void TaskProfile::merge(const TaskProfile& other) {
  SLUICE_CHECK(is_of_one_model_with(other));
  for (size_t i = 0; i < uses.size(); ++i) uses[i] += other.uses[i];
  weight += other.weight;
  n_tokens += other.n_tokens;
  used_at = std::max(used_at, other.used_at);
}

std::vector<UnitId> hottest_units(std::span<const float> rates, size_t n) {
  std::vector<UnitId> units;
  for (size_t unit = 0; unit < rates.size(); ++unit) {
    if (rates[unit] > 0) units.push_back(static_cast<UnitId>(unit));
  }
  std::stable_sort(units.begin(), units.end(), [rates](UnitId a, UnitId b) { return rates[a] > rates[b]; });
  units.resize(std::min(units.size(), n));
  return units;
}

std::vector<std::byte> task_profile_bytes(const TaskProfile& profile) {
  SLUICE_CHECK(profile.uses.size() == profile.n_all());
  std::vector<std::byte> bytes;
  const std::string model = profile.model.substr(0, kMaxName);
  const std::string architecture = profile.architecture.substr(0, kMaxName);
  for (const char c : kMagic) append_bytes(bytes, c);
  append_bytes(bytes, kVersion);
  append_bytes(bytes, static_cast<uint32_t>(model.size()));
  append_bytes(bytes, static_cast<uint32_t>(architecture.size()));
  append_bytes(bytes, static_cast<uint32_t>(profile.groups.size()));
  append_bytes(bytes, profile.n_units);
  append_bytes(bytes, profile.fingerprint);
  append_bytes(bytes, profile.n_tokens);
  append_bytes(bytes, profile.used_at);
  append_bytes(bytes, profile.weight);
  for (const std::string* text : {&model, &architecture}) {
    for (const char c : *text) append_bytes(bytes, c);
  }
  for (const uint32_t group : profile.groups) append_bytes(bytes, group);
  for (const float uses : profile.uses) append_bytes(bytes, uses);
  append_bytes(bytes, fnv1a(bytes));
  return bytes;
}

TaskProfile parse_task_profile(std::span<const std::byte> bytes, const std::string& where) {
  ByteCursor in(bytes, where, kKind, kRemedy);
  if (bytes.size() < sizeof(kMagic) || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0)
    in.refuse("does not begin as one");
  in.take_bytes(sizeof(kMagic));
  if (const auto version = in.take<uint32_t>(); version != kVersion)
    throw_error(ErrorKind::kUnsupported, "%s is a task profile of version %u, and this reads version %u: %s",
                where.c_str(), version, kVersion, kRemedy);
  TaskProfile profile;
  const auto model_bytes = in.take<uint32_t>();
  const auto architecture_bytes = in.take<uint32_t>();
  const auto n_groups = in.take<uint32_t>();
  profile.n_units = in.take<uint32_t>();
  profile.fingerprint = in.take<uint64_t>();
  profile.n_tokens = in.take<uint64_t>();
  profile.used_at = in.take<int64_t>();
  profile.weight = in.take<double>();
  if (model_bytes > kMaxName || architecture_bytes > kMaxName || n_groups == 0 || n_groups > kMaxGroups ||
      profile.n_units == 0 || profile.n_units > kMaxUnits)
    in.refuse("has a shape that no model has");
  if (!(profile.weight >= 0) || profile.weight > kMaxWeight) in.refuse("has no number of tokens");
  const uint64_t n = uint64_t{n_groups} * profile.n_units;
  if (in.left() != uint64_t{model_bytes} + architecture_bytes + n_groups * sizeof(uint32_t) +
                       n * sizeof(float) + sizeof(uint64_t))
    in.refuse("is not as long as its shape says");
  profile.model = in.take_text(model_bytes);
  profile.architecture = in.take_text(architecture_bytes);
  for (uint32_t i = 0; i < n_groups; ++i) {
    profile.groups.push_back(in.take<uint32_t>());
    if (profile.groups.back() >= kMaxGroups || (i > 0 && profile.groups[i] <= profile.groups[i - 1]))
      in.refuse("has layers out of order");
  }
  profile.uses.resize(n);
  const auto uses = in.take_bytes(n * sizeof(float));
  std::memcpy(profile.uses.data(), uses.data(), uses.size());
  for (const float use : profile.uses) {
    if (!(use >= 0) || static_cast<double>(use) > profile.weight * 1.001)
      in.refuse("has a count that is none");
  }
  if (in.take<uint64_t>() != fnv1a(bytes.first(bytes.size() - sizeof(uint64_t)))) in.refuse("was changed");
  return profile;
}

void write_task_profile(const std::string& path, const TaskProfile& profile) {
  FileWriter out(path);
  out.write(task_profile_bytes(profile));
  out.commit();
}

TaskProfile read_task_profile(const std::string& path) {
  const auto file = File::open(path);
  if (file->size() > kMaxFile)
    throw_error(ErrorKind::kCorrupt, "%s is too large for %s: %s", path.c_str(), kKind, kRemedy);
  std::vector<std::byte> bytes(file->size());
  file->read_at(0, bytes);
  return parse_task_profile(bytes, path);
}

}  // namespace sluice
