#include "store/setup.h"

#include <algorithm>
#include <cinttypes>
#include <filesystem>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "platform/memory_info.h"
#include "store/layout.h"

namespace sluice {
namespace {

// [n_files] how they are read where most are read with `mode`. A file has units that are kPinned, or others.
std::vector<IoMode> modes_of(size_t n_files, std::span<const UnitSpec> units, IoMode mode) {
  std::vector<IoMode> modes(n_files, mode);
  for (const UnitSpec& unit : units)
    for (const Extent& extent : unit.extents) modes[extent.file] = mode_of(unit, mode);
  return modes;
}

Setup::Files open_files(const std::vector<std::string>& paths, const std::vector<IoMode>& modes) {
  Setup::Files files;
  for (size_t i = 0; i < paths.size(); ++i) files.push_back(File::open(paths[i], modes[i]));
  return files;
}

void check_units(std::span<const UnitSpec> units, std::span<const std::shared_ptr<const File>> files) {
  for (size_t u = 0; u < units.size(); ++u) {
    SLUICE_CHECK(!units[u].extents.empty() && units[u].rows >= 1, "unit %zu is empty", u);
    for (const Extent& extent : units[u].extents) {
      SLUICE_CHECK(extent.file < files.size() && extent.bytes > 0, "unit %zu", u);
      SLUICE_CHECK(extent.bytes % static_cast<uint64_t>(units[u].rows) == 0, "unit %zu has uneven rows", u);
      const File& file = *files[extent.file];
      uint64_t end = 0;
      if (!checked_add(extent.offset, extent.bytes, &end) || end > file.size()) {
        throw_error(ErrorKind::kCorrupt,
                    "%s ends at byte %" PRIu64 " and %" PRIu64 " bytes at %" PRIu64
                    " are needed: fetch it again",
                    file.path().c_str(), file.size(), extent.bytes, extent.offset);
      }
    }
  }
}

constexpr uint64_t kCompared = uint64_t{1} << 20;  // bytes at both ends of a file and its copy

bool are_equal_at(const File& a, const File& b, uint64_t offset, uint64_t bytes) {
  std::vector<std::byte> of_a(bytes), of_b(bytes);
  a.read_at(offset, of_a);
  b.read_at(offset, of_b);
  return of_a == of_b;
}

// The paths of the same files in `directory`. Comparing all of them would take as long as reading the model:
// size and both ends tell another model or version apart.
std::vector<std::string> mirror_paths(const Setup::Files& files, size_t n_mirrored,
                                      const std::string& directory) {
  std::vector<std::string> paths;
  for (const auto& file : files) {
    if (paths.size() >= n_mirrored) {
      paths.push_back(file->path());
      continue;
    }
    paths.push_back(
        (std::filesystem::path(directory) / std::filesystem::path(file->path()).filename()).string());
    const auto copy = File::open(paths.back());
    const uint64_t size = file->size();
    const uint64_t n = std::min(size, kCompared);
    if (copy->size() == size && are_equal_at(*file, *copy, 0, n) && are_equal_at(*file, *copy, size - n, n))
      continue;
    throw_error(ErrorKind::kInvalid, "--mirror: %s is not a copy of %s: copy it again", paths.back().c_str(),
                file->path().c_str());
  }
  return paths;
}

Setup::Files open_mirror(const std::vector<std::string>& paths, const std::vector<IoMode>& modes) {
  Setup::Files files = open_files(paths, modes);
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i]->mode() == modes[i]) continue;
    throw_error(
        ErrorKind::kInvalid,
        "--mirror: %s is on a file system without O_DIRECT, which the model is read with: add --io buffered",
        files[i]->path().c_str());
  }
  return files;
}

}  // namespace

std::string why_not_lock(const MemoryInfo& machine, uint64_t bytes) {
  if (machine.swap == 0) return "there is no swap to be kept from";
  if (bytes > machine.spare() / 2)
    return format_string("that would be more than half of the %s that are spare",
                         format_bytes(machine.spare()).c_str());
  return {};
}

Setup set_up(const std::vector<std::string>& paths, std::span<const UnitSpec> units,
             const StoreOptions& options, size_t depth, const MemoryBudget& budget) {
  Setup setup;
  setup.files = open_files(paths, std::vector(paths.size(), IoMode::kBuffered));
  check_units(units, setup.files);
  std::vector<std::vector<std::string>> mirrors;
  for (const std::string& directory : options.mirrors)
    mirrors.push_back(mirror_paths(setup.files, options.n_mirrored, directory));
  const auto finish = [&]() -> Setup {
    setup.copies = {setup.files};
    const std::vector<IoMode> modes = modes_of(paths.size(), units, setup.mode);
    for (const auto& mirror : mirrors) setup.copies.push_back(open_mirror(mirror, modes));
    return std::move(setup);
  };

  const uint64_t bytes = std::min(options.weight_bytes, budget.free());
  refuse_below_minimum(units, bytes);
  setup.plan = plan_store(units, IoMode::kBuffered, bytes, depth, options.governor);
  const uint64_t reread = setup.plan.reread_bytes;
  bool direct = options.io == IoChoice::kDirect;
  if (options.io != IoChoice::kAuto) {
    setup.why = "as asked";
  } else if (reread == 0) {
    setup.why = "everything stays in memory";
  } else {
    const uint64_t spare = memory_info().spare();
    const uint64_t left = spare - std::min(spare, setup.plan.total());
    direct = reread > left;
    setup.why = format_string("%s are read again, %s of memory are spare", format_bytes(reread).c_str(),
                              format_bytes(left).c_str());
  }
  if (!direct) return finish();

  if (reread == 0 && !fits_whole(units, IoMode::kDirect, bytes)) {
    setup.why = "everything stays in memory, but not in whole pages";
    return finish();
  }
  const std::vector<IoMode> modes = modes_of(paths.size(), units, IoMode::kDirect);
  auto direct_files = open_files(paths, modes);
  for (size_t i = 0; i < paths.size(); ++i) {
    if (direct_files[i]->mode() == modes[i]) continue;
    setup.why = "the file system has no O_DIRECT";
    return finish();
  }
  setup.files = std::move(direct_files);
  setup.mode = IoMode::kDirect;
  setup.plan = plan_store(units, IoMode::kDirect, bytes, depth, options.governor);
  return finish();
}

}  // namespace sluice
