#include "base/error.h"
#include "store/weight_store.h"

namespace sluice {

std::unique_ptr<CachePolicy> make_cache_policy(const std::string& name) {
  if (name == "lru") return make_lru_policy();
  if (name == "clock") return make_clock_policy();
  throw_error(ErrorKind::kInvalid, "there is no cache policy \"%s\": choose lru or clock",
              printable(name).c_str());
}

}  // namespace sluice
