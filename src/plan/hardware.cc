#include "plan/hardware.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/environment.h"
#include "base/error.h"
#include "base/units.h"
#include "format/json.h"
#include "kernels/kernels.h"
#include "platform/cpu_features.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kVersion = 2;  // of the JSON

// y at x on a line through the points in order of x, flat beyond them.
double interpolate(std::span<const double> xs, std::span<const double> ys, double x) {
  if (x <= xs.front()) return ys.front();
  for (size_t i = 1; i < xs.size(); ++i) {
    if (x > xs[i]) continue;
    const double t = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
    return ys[i - 1] + t * (ys[i] - ys[i - 1]);
  }
  return ys.back();
}

Json unlimited(uint64_t bytes) { return bytes == UINT64_MAX ? Json(nullptr) : Json(bytes); }
uint64_t or_unlimited(const Json& json) { return json.is_null() ? UINT64_MAX : json.get<uint64_t>(); }

DiskPattern pattern_from(const std::string& name) {
  for (const DiskPattern pattern : {DiskPattern::kRandom, DiskPattern::kBurst})
    if (name == disk_pattern_name(pattern)) return pattern;
  return DiskPattern::kInOrder;
}

}  // namespace

bool HardwareProfile::has_direct() const {
  return std::any_of(disk.begin(), disk.end(), [](const DiskSpeed& s) { return s.direct; });
}

double HardwareProfile::memory_peak() const {
  double best = 0;
  for (const ReadPeak& read : reads) best = std::max(best, read.bytes_per_second);
  return best;
}

double HardwareProfile::disk_speed(uint64_t block_bytes, double depth, DiskPattern pattern) const {
  std::set<uint64_t> blocks, depths;
  for (const DiskSpeed& s : disk) {
    if (!s.direct || s.pattern != pattern) continue;
    blocks.insert(s.block_bytes);
    depths.insert(s.depth);
  }
  if (blocks.empty()) return disk_sequential(true);
  const auto at = [&](uint64_t block, uint64_t d) {
    for (const DiskSpeed& s : disk)
      if (s.direct && s.pattern == pattern && s.block_bytes == block && s.depth == d)
        return s.bytes_per_second;
    return 0.0;
  };
  std::vector<double> xs, ys, log_depths;
  for (const uint64_t d : depths) log_depths.push_back(std::log2(static_cast<double>(d)));
  for (const uint64_t block : blocks) {
    std::vector<double> speeds;
    for (const uint64_t d : depths) speeds.push_back(at(block, d));
    xs.push_back(std::log2(static_cast<double>(block)));
    ys.push_back(interpolate(log_depths, speeds, std::log2(std::max(depth, 1.0))));
  }
  const auto block = static_cast<double>(std::max<uint64_t>(block_bytes, 1));
  const double small = std::min(1.0, block / static_cast<double>(*blocks.begin()));
  return small * interpolate(xs, ys, std::log2(block));
}

double HardwareProfile::disk_sequential(bool direct) const {
  double other = 0;
  for (const DiskSpeed& s : disk) {
    if (s.pattern != DiskPattern::kInOrder) continue;
    if (s.direct == direct) return s.bytes_per_second;
    other = s.bytes_per_second;
  }
  return other;
}

double HardwareProfile::product_speed(const std::string& encoding, double rows) const {
  std::vector<double> log_rows;
  for (const int64_t n : kProductRows) log_rows.push_back(std::log2(static_cast<double>(n)));
  for (const ProductSpeed& product : products) {
    if (product.encoding != encoding) continue;
    // Time per row is what changes smoothly.
    std::vector<double> row_seconds;
    for (size_t i = 0; i < kNumProductRows; ++i)
      row_seconds.push_back(1 / product.bytes_per_second[i] / static_cast<double>(kProductRows[i]));
    const double n = std::max(rows, 1.0);
    return 1 / (interpolate(log_rows, row_seconds, std::log2(n)) * n);
  }
  return 0;
}

uint64_t disk_test_bytes(bool quick) { return (quick ? 256 : 1024) * kMiB; }

HardwareProfile measure_hardware(const HardwareOptions& options) {
  const auto report = [&options](const char* what, uint64_t done, uint64_t total) {
    if (options.progress) options.progress(what, done, total);
  };
  HardwareProfile profile;
  profile.quick = options.quick;
  profile.measured_at = static_cast<int64_t>(std::time(nullptr));
  profile.n_threads = physical_cpu_count();
  profile.isa = kernel_isa(kernel_table());
  const MachineFacts before = look_at_machine();
  profile.disk_facts = look_at_disk(options.file.empty() ? options.directory : options.file);

  {
    std::unique_ptr<DiskTestFile> written;
    if (options.file.empty())
      written = std::make_unique<DiskTestFile>(
          options.directory, disk_test_bytes(options.quick),
          [&](uint64_t done, uint64_t total) { report("writing the test file", done, total); });
    const std::vector<uint64_t> blocks =
        options.quick ? std::vector<uint64_t>{64 * kKiB, 256 * kKiB, kMiB}
                      : std::vector<uint64_t>{4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB, kMiB};
    const std::vector<uint64_t> depths =
        options.quick ? std::vector<uint64_t>{1, 8, 32} : std::vector<uint64_t>{1, 2, 4, 8, 16, 32};
    profile.disk =
        measure_disk(written ? written->path() : options.file, blocks, depths, options.quick ? 0.2 : 0.35,
                     [&](uint64_t done, uint64_t total) { report("disk", done, total); });
  }

  const uint64_t buffer_bytes = read_buffer_bytes(memory_info().spare() / 4);
  report("memory", 0, 2);
  profile.reads = measure_reads(profile.n_threads, buffer_bytes, options.quick ? 1 : 3);
  report("arithmetic", 1, 2);
  profile.arithmetic = measure_arithmetic(profile.n_threads, "", options.quick ? 0.1 : 0.5);
  {
    const ProductBench bench(profile.n_threads, buffer_bytes);
    const double seconds = options.quick ? 0.02 : 0.06;
    const std::vector<std::string> encodings = ProductBench::encodings();
    for (size_t i = 0; i < encodings.size(); ++i) {
      report("kernels", i, encodings.size() + 1);
      profile.products.push_back(bench.product(encodings[i], seconds));
    }
    profile.attention = bench.attention(4 * seconds);
  }
  profile.machine = look_at_machine();
  profile.machine.load = before.load;  // of others
  profile.machine.throttled -= std::min(before.throttled, profile.machine.throttled);
  return profile;
}

Json to_json(const HardwareProfile& p) {
  const MachineFacts& m = p.machine;
  const DiskFacts& d = p.disk_facts;
  Json disk = Json::array(), reads = Json::array(), products = Json::array();
  for (const DiskSpeed& s : p.disk)
    disk.push_back({{"block_bytes", s.block_bytes},
                    {"depth", s.depth},
                    {"direct", s.direct},
                    {"pattern", disk_pattern_name(s.pattern)},
                    {"bytes_s", s.bytes_per_second}});
  for (const ReadPeak& r : p.reads)
    reads.push_back({{"threads", r.n_threads},
                     {"huge_pages", r.huge_pages},
                     {"streams", r.n_streams},
                     {"prefetch_bytes", r.prefetch_bytes},
                     {"bytes_s", r.bytes_per_second}});
  for (const ProductSpeed& s : p.products)
    products.push_back({{"encoding", s.encoding},
                        {"bits_per_weight", s.bits_per_weight},
                        {"rows", kProductRows},
                        {"bytes_s", s.bytes_per_second}});
  return {{"version", kVersion},
          {"measured_at", p.measured_at},
          {"quick", p.quick},
          {"instruction_set", p.isa},
          {"threads", p.n_threads},
          {"machine",
           {{"cpu", m.cpu},
            {"cpus_online", m.cpus_online},
            {"cpus_allowed", m.cpus_allowed},
            {"load", m.load},
            {"governor", m.governor},
            {"throttled", m.throttled},
            {"memory_bytes", m.memory_bytes},
            {"available_bytes", m.available_bytes},
            {"cgroup_bytes", unlimited(m.cgroup_bytes)},
            {"memlock_bytes", unlimited(m.memlock_bytes)},
            {"swap_bytes", m.swap_bytes},
            {"swap_used_bytes", m.swap_used_bytes},
            {"huge_pages", m.huge_pages},
            {"io_uring", m.io_uring}}},
          {"disk",
           {{"path", d.path},
            {"file_system", d.file_system},
            {"device", d.device},
            {"network", d.network},
            {"memory", d.memory},
            {"rotational", d.rotational ? Json(*d.rotational) : Json(nullptr)},
            {"celsius", d.celsius},
            {"speeds", disk}}},
          {"reads", reads},
          {"int8_operations_s", p.arithmetic.int8},
          {"f32_operations_s", p.arithmetic.f32},
          {"bf16_operations_s", p.arithmetic.bf16},
          {"products", products},
          {"attention",
           {{"bytes_s", p.attention.bytes_per_second}, {"operations_s", p.attention.operations_per_second}}}};
}

HardwareProfile profile_from_json(const Json& json, const std::string& where) try {
  if (json.at("version") != kVersion)
    throw_error(ErrorKind::kCorrupt, "%s: another version wrote it; run `sluice doctor`", where.c_str());
  HardwareProfile p;
  p.measured_at = json.at("measured_at");
  p.quick = json.at("quick");
  p.isa = json.at("instruction_set");
  p.n_threads = json.at("threads");
  const Json& m = json.at("machine");
  p.machine = {.cpu = m.at("cpu"),
               .cpus_online = m.at("cpus_online"),
               .cpus_allowed = m.at("cpus_allowed"),
               .load = m.at("load"),
               .governor = m.at("governor"),
               .throttled = m.at("throttled"),
               .memory_bytes = m.at("memory_bytes"),
               .available_bytes = m.at("available_bytes"),
               .cgroup_bytes = or_unlimited(m.at("cgroup_bytes")),
               .memlock_bytes = or_unlimited(m.at("memlock_bytes")),
               .swap_bytes = m.at("swap_bytes"),
               .swap_used_bytes = m.at("swap_used_bytes"),
               .huge_pages = m.at("huge_pages"),
               .io_uring = m.at("io_uring")};
  const Json& d = json.at("disk");
  p.disk_facts = {.path = d.at("path"),
                  .file_system = d.at("file_system"),
                  .device = d.at("device"),
                  .network = d.at("network"),
                  .memory = d.at("memory"),
                  .rotational = d.at("rotational").is_null()
                                    ? std::nullopt
                                    : std::optional<bool>(d.at("rotational").get<bool>()),
                  .celsius = d.at("celsius")};
  for (const Json& s : d.at("speeds"))
    p.disk.push_back(
        {s.at("block_bytes"), s.at("depth"), s.at("direct"), pattern_from(s.at("pattern")), s.at("bytes_s")});
  for (const Json& r : json.at("reads"))
    p.reads.push_back(
        {r.at("threads"), r.at("huge_pages"), r.at("streams"), r.at("prefetch_bytes"), r.at("bytes_s")});
  p.arithmetic = {json.at("int8_operations_s"), json.at("f32_operations_s"), json.at("bf16_operations_s")};
  for (const Json& s : json.at("products")) {
    ProductSpeed speed = {.encoding = s.at("encoding"), .bits_per_weight = s.at("bits_per_weight")};
    for (size_t i = 0; i < kNumProductRows; ++i) {
      speed.bytes_per_second[i] = s.at("bytes_s").at(i);
      if (!(speed.bytes_per_second[i] > 0))
        throw_error(ErrorKind::kCorrupt, "%s: a speed of zero; run `sluice doctor`", where.c_str());
    }
    p.products.push_back(speed);
  }
  p.attention = {json.at("attention").at("bytes_s"), json.at("attention").at("operations_s")};
  if (!(p.memory_peak() > 0) || !(p.arithmetic.int8 > 0) || !(p.arithmetic.f32 > 0) ||
      !(p.attention.bytes_per_second > 0) || !(p.attention.operations_per_second > 0) || p.disk.empty())
    throw_error(ErrorKind::kCorrupt, "%s: something was not measured; run `sluice doctor`", where.c_str());
  return p;
} catch (const Json::exception&) {
  throw_error(ErrorKind::kCorrupt, "%s: not a hardware profile; run `sluice doctor`", where.c_str());
}

std::string hardware_profile_path() {
  const std::string directory = state_directory();
  return directory.empty() ? directory : directory + "/hardware.json";
}

std::optional<HardwareProfile> load_hardware_profile() {
  const std::string path = hardware_profile_path();
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) return std::nullopt;
  try {
    HardwareProfile profile = profile_from_json(read_json_file(path), path);
    const bool here = profile.machine.cpu == cpu_name() && profile.n_threads == physical_cpu_count() &&
                      profile.isa == kernel_isa(kernel_table());
    if (here) return profile;
  } catch (const Error&) {
    // Written by another version, or damaged: as good as none.
  }
  return std::nullopt;
}

bool save_hardware_profile(const HardwareProfile& profile) {
  const std::string path = hardware_profile_path();
  if (path.empty()) return false;
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) throw_errno(error.value(), "cannot create", fs::path(path).parent_path().string());
  FileWriter writer(path);
  const std::string text = to_json(profile).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  writer.write(std::as_bytes(std::span(text)));
  writer.commit();
  return true;
}

}  // namespace sluice
