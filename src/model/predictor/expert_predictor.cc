#include "model/predictor/expert_predictor.h"

#include <array>

#include "base/error.h"

namespace sluice {
namespace {

constexpr std::array<const char*, 6> kNames = {"router",       "linear",   "shadow",
                                               "cooccurrence", "previous", "frequency"};

}  // namespace

std::span<const char* const> expert_predictor_names() { return kNames; }

std::unique_ptr<ExpertPredictor> make_expert_predictor(const std::string& name, const RoutedShape& shape,
                                                       const AskRouter& router) {
  if (name == "router") return make_router_predictor(shape, router);
  if (name == "linear") return make_linear_predictor(shape, router);
  if (name == "shadow") return make_shadow_predictor(shape);
  if (name == "cooccurrence") return make_cooccurrence_predictor(shape);
  if (name == "previous") return make_previous_predictor(shape);
  if (name == "frequency") return make_frequency_predictor(shape);
  std::string names;
  for (const char* known : kNames) names += std::string(names.empty() ? "" : ", ") + known;
  throw_error(ErrorKind::kInvalid,
              "there is no expert predictor \"%s\": choose one of %s (or auto, off, study)",
              printable(name).c_str(), names.c_str());
}

uint64_t expert_predictor_bytes(const std::string& name, const RoutedShape& shape) {
  if (name == "linear") return linear_predictor_bytes(shape);
  if (name == "shadow") return shadow_predictor_bytes(shape);
  if (name == "cooccurrence") return cooccurrence_predictor_bytes(shape);
  return name == "router" ? 0 : counting_predictor_bytes(shape);
}

}  // namespace sluice
