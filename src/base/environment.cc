#include "base/environment.h"

#include <cstdlib>

namespace sluice {

const char* variable_name(Variable variable) noexcept {
  switch (variable) {
    case Variable::kHome:
      return "HOME";
    case Variable::kXdgCacheHome:
      return "XDG_CACHE_HOME";
    case Variable::kXdgStateHome:
      return "XDG_STATE_HOME";
    case Variable::kHfHubCache:
      return "HF_HUB_CACHE";
    case Variable::kHfHome:
      return "HF_HOME";
    case Variable::kNoColor:
      return "NO_COLOR";
    case Variable::kTerm:
      return "TERM";
    case Variable::kColumns:
      return "COLUMNS";
  }
  return "";
}

std::optional<std::string> read_environment(Variable variable) {
  const char* value = std::getenv(variable_name(variable));
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::string state_directory() {
  if (const auto state = read_environment(Variable::kXdgStateHome)) return *state + "/sluice";
  if (const auto home = read_environment(Variable::kHome)) return *home + "/.local/state/sluice";
  return {};
}

}  // namespace sluice
