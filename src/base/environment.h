// The environment variables that Sluice reads, all of them, and the only place that reads them.
#pragma once

#include <optional>
#include <string>

namespace sluice {

enum class Variable {
  kHome,          // HOME
  kXdgCacheHome,  // XDG_CACHE_HOME: caches, by default ~/.cache
  kXdgStateHome,  // XDG_STATE_HOME: histories, profiles, by default ~/.local/state
  kHfHubCache,    // HF_HUB_CACHE: the Hugging Face cache itself
  kHfHome,        // HF_HOME: the directory that has it as "hub"
  kNoColor,       // NO_COLOR: plain output (https://no-color.org)
  kTerm,          // TERM
  kColumns,       // COLUMNS: width of the terminal where it cannot be asked
};

// Its name in the environment.
const char* variable_name(Variable variable) noexcept;

// nullopt where it is not set or empty. Thread-safe as long as nobody changes the environment.
std::optional<std::string> read_environment(Variable variable);

// Where Sluice keeps what it learns of the user and the machine: $XDG_STATE_HOME/sluice, else
// ~/.local/state/sluice; empty where there is no home.
std::string state_directory();

}  // namespace sluice
