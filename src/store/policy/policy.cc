#include <algorithm>
#include <array>

#include "base/error.h"
#include "store/policy/policies.h"

namespace sluice {
namespace {

struct Named {
  std::string_view name;
  std::unique_ptr<CachePolicy> (*make)();
};

// The default first: why it is that, docs/decisions/0008-experts-are-evicted-by-expected-next-use.md.
constexpr Named kPolicies[] = {{"forward", make_forward_policy},
                               {"lru", make_lru_policy},
                               {"clock", make_clock_policy},
                               {"lfu", make_lfu_policy},
                               {"s3fifo", make_s3fifo_policy},
                               {"lcp", make_lcp_policy},
                               {"least-stale", make_least_stale_policy}};

constexpr std::string_view kSplits[] = {"shared", "measured"};

std::string listed(std::span<const std::string_view> names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : " or ") + std::string(names[i]);
  }
  return text;
}

}  // namespace

std::span<const std::string_view> cache_policy_names() {
  static const auto names = [] {
    std::array<std::string_view, std::size(kPolicies)> all;
    std::transform(std::begin(kPolicies), std::end(kPolicies), all.begin(),
                   [](const Named& policy) { return policy.name; });
    return all;
  }();
  return names;
}

std::span<const std::string_view> cache_split_names() { return kSplits; }

std::unique_ptr<CachePolicy> make_cache_policy(const std::string& name, const std::string& split) {
  const auto* const policy = std::find_if(std::begin(kPolicies), std::end(kPolicies),
                                          [&](const Named& candidate) { return candidate.name == name; });
  if (policy == std::end(kPolicies))
    throw_error(ErrorKind::kInvalid, "there is no cache policy \"%s\": choose %s", printable(name).c_str(),
                listed(cache_policy_names()).c_str());
  if (split != "shared" && split != "measured")
    throw_error(ErrorKind::kInvalid, "there is no cache split \"%s\": choose %s", printable(split).c_str(),
                listed(kSplits).c_str());
  return split == "shared" ? policy->make() : make_measured_split(policy->make());
}

}  // namespace sluice
