// From what a person calls a model to the path that the formats open. Nothing is downloaded here.
#pragma once

#include <string>

namespace sluice {

// `name` is, in this order:
//   demo                     the model that comes with Sluice (./demo is a path)
//   a path                   of a directory or file
//   [hf.co/][org/]name       in the Hugging Face cache: the snapshot that refs/main points to
//   name@revision            another branch, tag or full commit of it
//   name:Q4_K_M              the GGUF file of the snapshot with that quantisation in its name; of a split
//                            model the first part
// Returns an existing path. Throws Error(kNotFound, kInvalid) that says where it looked and what would do.
std::string resolve_model(const std::string& name);

}  // namespace sluice
