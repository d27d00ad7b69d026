// What plan and browse share: the machine's numbers, and models that need not be here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "forge/outline.h"
#include "plan/catalogue.h"
#include "plan/hardware.h"
#include "sluice/engine.h"

namespace sluice {

// What doctor kept, or else measured quickly now (and kept): on `file` if that is large enough, or on a small
// test file beside the profile. Tells on standard error what it does.
HardwareProfile hardware_for(const std::string& file);

// "measured 3 hours ago on /home/me (ext4); `sluice doctor` measures anew"
std::string measured_when(const HardwareProfile& profile);

// An open engine without weights.
struct PlannedModel {
  std::string name;                  // to show
  std::unique_ptr<Outline> outline;  // of a model that is not here
  std::unique_ptr<Engine> engine;
  std::string file;                       // the largest of its files; empty if it is not here
  const CatalogueEntry* entry = nullptr;  // if it is from the catalogue
};

// options.model is a path, a name in the cache, or a catalogue name, "NAME:TYPE" for another file type than
// the entry's first. Error(kNotFound) with suggestions; kUnsupported for architectures without support.
PlannedModel open_planned(const EngineOptions& options);

// A supported entry of the catalogue in a file of `type`, from its shape alone.
PlannedModel open_outline(EngineOptions options, const CatalogueEntry& entry, const std::string& type);

}  // namespace sluice
