// sluice doctor: measures this machine, says what is wrong with it, and keeps the numbers for plan and
// browse.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "hub/hf_cache.h"
#include "plan/diagnosis.h"
#include "plan/hardware.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct DoctorOptions {
  std::string directory;
  std::string file;
  bool quick = false;
  bool json = false;
};

// Where models lie, or else here.
std::string default_directory() {
  const std::string cache = HfCache::from_environment().directory();
  std::error_code error;
  return std::filesystem::is_directory(cache, error) ? cache : ".";
}

std::string rate(double bytes_per_second) {
  return format_string(bytes_per_second < 9.995e8 ? "%.3f" : "%.2f", bytes_per_second * 1e-9);
}

std::string disk_text(const HardwareProfile& p) {
  std::set<uint64_t> blocks, depths;
  for (const DiskSpeed& s : p.disk) {
    if (s.pattern != DiskPattern::kRandom) continue;
    blocks.insert(s.block_bytes);
    depths.insert(s.depth);
  }
  std::string text =
      format_string("disk: %s, %s, %s\n", printable(p.disk_facts.path).c_str(),
                    p.disk_facts.file_system.c_str(), p.machine.io_uring ? "io_uring" : "threads");
  if (p.has_direct()) {
    std::vector<TableRow> rows = {{"  GB/s at random, O_DIRECT"}};
    for (const uint64_t depth : depths)
      rows[0].push_back(format_string("%d at once", static_cast<int>(depth)));
    for (const uint64_t block : blocks) {
      rows.push_back({"  " + format_bytes(block)});
      for (const uint64_t depth : depths)
        rows.back().push_back(rate(p.disk_speed(block, static_cast<double>(depth))));
    }
    rows.push_back({"  256 KiB in bursts"});
    for (const uint64_t depth : depths)
      rows.back().push_back(rate(p.disk_speed(256 << 10, static_cast<double>(depth), DiskPattern::kBurst)));
    text += aligned_table(rows);
  }
  for (const DiskSpeed& s : p.disk)
    if (s.pattern == DiskPattern::kInOrder)
      text +=
          format_string("  in order, 512 KiB, 16 at once, %s: %s GB/s\n",
                        s.direct ? "O_DIRECT" : "through the page cache", rate(s.bytes_per_second).c_str());
  return text;
}

std::string memory_text(const HardwareProfile& p) {
  std::string text;
  for (const ReadPeak& r : p.reads)
    text += format_string("  reads, %d %s, %s pages: %s GB/s\n", r.n_threads,
                          r.n_threads == 1 ? "thread" : "threads", r.huge_pages ? "huge" : "4 KiB",
                          rate(r.bytes_per_second).c_str());
  return text;
}

std::string kernels_text(const HardwareProfile& p) {
  std::vector<TableRow> rows = {{"  kernels", "1 row, GB/s", "256 rows, GOP/s"}};
  for (const char* name : {"bf16", "q8_0", "q6_k", "q4_k", "q4_0", "mxfp4", "affine4"}) {
    for (const ProductSpeed& s : p.products) {
      if (s.encoding != name) continue;
      rows.push_back({std::string("  ") + name, format_string("%.1f", s.bytes_per_second[0] * 1e-9),
                      format_string("%.0f", s.operations_per_second(kNumProductRows - 1) * 1e-9)});
    }
  }
  return aligned_table(rows);
}

std::string report_text(const HardwareProfile& p, const std::vector<Finding>& findings,
                        const std::string& saved) {
  std::string text = format_string(
      "machine: %s, %d of %d CPUs, %s, %s of memory, %s available\n", printable(p.machine.cpu).c_str(),
      p.machine.cpus_allowed, p.machine.cpus_online, p.isa.c_str(),
      format_bytes(std::min(p.machine.memory_bytes, p.machine.cgroup_bytes)).c_str(),
      format_bytes(p.machine.available_bytes).c_str());
  text += memory_text(p);
  text +=
      format_string("  arithmetic, GOP/s: int8 %.0f, f32 %.0f, bf16 %s\n", p.arithmetic.int8 * 1e-9,
                    p.arithmetic.f32 * 1e-9,
                    p.arithmetic.bf16 > 0 ? format_string("%.0f", p.arithmetic.bf16 * 1e-9).c_str() : "n/a");
  text += kernels_text(p) + "\n" + disk_text(p) + "\n";
  if (findings.empty()) text += "nothing is wrong\n";
  for (const Finding& finding : findings) {
    text += (finding.problem ? "problem: " : "note: ") + finding.what + "\n";
    if (!finding.remedy.empty()) text += "  " + finding.remedy + "\n";
  }
  if (!saved.empty()) text += "\nkept for plan and browse in " + saved + "\n";
  return text;
}

Json report_json(const HardwareProfile& p, const std::vector<Finding>& findings, const std::string& saved) {
  Json report = to_json(p);
  report["findings"] = Json::array();
  for (const Finding& f : findings)
    report["findings"].push_back(
        {{"level", f.problem ? "problem" : "note"}, {"what", f.what}, {"remedy", f.remedy}});
  report["saved"] = saved.empty() ? Json(nullptr) : Json(saved);
  return report;
}

int doctor(const DoctorOptions& options) {
  catch_interrupts();
  HardwareOptions measure = {.quick = options.quick, .directory = options.directory, .file = options.file};
  if (measure.directory.empty()) measure.directory = default_directory();
  std::optional<ProgressBar> bar;
  std::string label;
  measure.progress = [&](const char* what, uint64_t done, uint64_t total) {
    if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted; no test file is left");
    const bool writing = total >= 1024;  // bytes
    if (label != what) {
      label = what;
      bar.emplace("measuring: " + label, writing ? nullptr : "parts");
    }
    bar->update(done, total);
  };
  const HardwareProfile profile = measure_hardware(measure);
  bar.reset();
  std::string saved;
  try {
    if (save_hardware_profile(profile)) saved = hardware_profile_path();
  } catch (const Error& error) {
    print_warning(std::string("the profile was not kept: ") + error.what());
  }
  const std::vector<Finding> findings = diagnose(profile);
  write_stdout(
      options.json
          ? report_json(profile, findings, saved).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
          : report_text(profile, findings, saved));
  return kExitOk;
}

}  // namespace

Action define_doctor(Arguments& args) {
  auto options = std::make_shared<DoctorOptions>();
  const Option path =
      args.option("--path DIR", options->directory,
                  "directory to measure the disk in; by default the Hugging Face cache, or else this one");
  args.option("--file FILE", options->file, "read this big file and write none").excludes(path);
  args.flag("--quick", options->quick, "some seconds and 256 MiB instead of about 40 and 1 GiB");
  args.flag("--json", options->json, "print one JSON object");
  args.footer(R"(
examples:
  sluice doctor
  sluice doctor --path /mnt/models
  sluice doctor --file model.gguf --quick --json

Writes a test file of 1 GiB (256 MiB with --quick) that has no name, so that nothing is left of it, reads it in
blocks of 4 KiB to 1 MiB with 1 to 32 reads at once, measures memory, arithmetic and the engine's own kernels,
and keeps the result for `sluice plan` and `sluice browse`. Run it while the machine is quiet.)");
  return [options] { return doctor(*options); };
}

}  // namespace sluice
