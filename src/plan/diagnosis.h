// What is wrong with a machine, or could be better, in plain words and with the remedy.
#pragma once

#include <string>
#include <vector>

#include "plan/hardware.h"

namespace sluice {

struct Finding {
  bool problem = false;  // costs speed now; false: worth knowing
  std::string what;      // one sentence
  std::string remedy;    // what would help; empty: nothing
};

// Problems first.
std::vector<Finding> diagnose(const HardwareProfile& profile);

}  // namespace sluice
