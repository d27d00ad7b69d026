// From argv to a verb and from an exception to one line and an exit code.
#pragma once

namespace sluice {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

int run_command_line(int argc, char** argv);

}  // namespace sluice
