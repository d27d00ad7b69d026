// What this machine can do, measured once and kept: the ground on which predictions stand.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plan/disk.h"
#include "plan/machine.h"
#include "plan/peaks.h"
#include "plan/products.h"

namespace sluice {

struct HardwareProfile {
  int64_t measured_at = 0;  // seconds since 1970
  bool quick = false;
  std::string isa;
  int n_threads = 0;  // with which the rest was measured
  MachineFacts machine;
  DiskFacts disk_facts;
  std::vector<DiskSpeed> disk;
  std::vector<ReadPeak> reads;
  ArithmeticPeaks arithmetic;
  std::vector<ProductSpeed> products;
  AttentionSpeed attention;

  bool has_direct() const;     // reads around the page cache
  double memory_peak() const;  // bytes per second, the best of `reads`

  // Bytes per second of reads around the page cache, between the measured points of a pattern; the table's
  // edge beyond them, and for blocks below the smallest in proportion. What there is where that was not
  // measured.
  double disk_speed(uint64_t block_bytes, double depth, DiskPattern pattern = DiskPattern::kRandom) const;
  // Of reads of 512 KiB in order, 16 in flight. `direct` as asked for where it was measured.
  double disk_sequential(bool direct) const;

  // Bytes of weights per second with so many input rows; 0: that encoding was not measured.
  double product_speed(const std::string& encoding, double rows) const;
};

struct HardwareOptions {
  bool quick = false;     // some seconds; else about half a minute
  std::string directory;  // where a test file may be written...
  std::string file;       // ...unless there is a file to read from
  // "memory", done, total. May throw to cancel.
  std::function<void(const char* what, uint64_t done, uint64_t total)> progress;
};

// The test file's size, on which doctor and the profile must agree.
uint64_t disk_test_bytes(bool quick);

// Error(kIo, kNotFound, kInvalid) of the disk; everything else always works.
HardwareProfile measure_hardware(const HardwareOptions& options);

nlohmann::ordered_json to_json(const HardwareProfile& profile);
// Error(kCorrupt), beginning with `where`, for what to_json() did not write.
HardwareProfile profile_from_json(const nlohmann::ordered_json& json, const std::string& where);

// $XDG_STATE_HOME/sluice/hardware.json; empty where there is no home.
std::string hardware_profile_path();
// nullopt where there is none, or none that this version and this machine (CPU, CPUs allowed) can use.
std::optional<HardwareProfile> load_hardware_profile();
// False where there is no home. Error(kIo).
bool save_hardware_profile(const HardwareProfile& profile);

}  // namespace sluice
