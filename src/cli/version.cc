// sluice version: what this binary is and what it found on this machine.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/verbs.h"
#include "kernels/kernels.h"
#include "platform/async_reader.h"
#include "platform/cpu_features.h"

namespace sluice {

Action define_version(Arguments& args) {
  auto json = std::make_shared<bool>(false);
  args.flag("--json", *json, "print one JSON object");
  return [json] {
    const std::vector<std::string> isas = available_isas();
    const std::string reader = make_reader(1)->name();
    if (*json) {
      const nlohmann::ordered_json report = {{"version", SLUICE_VERSION},
                                             {"cpu", cpu_name()},
                                             {"cpus", physical_cpu_count()},
                                             {"isas", isas},
                                             {"io", reader}};
      write_stdout(report.dump(2) + "\n");
      return kExitOk;
    }
    std::string list;
    for (const std::string& isa : isas) list += (list.empty() ? "" : ", ") + isa;
    write_stdout(format_string(
        "sluice %s\ncpu: %s, %d CPUs for this process\nkernels: %s\ninput/output: %s\n", SLUICE_VERSION,
        printable(cpu_name()).c_str(), physical_cpu_count(), list.c_str(), reader.c_str()));
    return kExitOk;
  };
}

}  // namespace sluice
