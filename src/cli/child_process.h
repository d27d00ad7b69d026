// Another program, run to its end.
#pragma once

#include <string>

namespace sluice {

struct ChildOutcome {
  int exit_code = 0;  // 128 + signal where one ended it
  std::string out;    // standard output
  std::string err;    // the end of standard error
};

// `command` by /bin/sh -c with nothing on standard input. On an interrupt the command and what it started are
// terminated, and Error(kCancelled) is thrown; Error(kInvalid) for more than 16 MiB of output.
ChildOutcome run_shell(const std::string& command);

}  // namespace sluice
