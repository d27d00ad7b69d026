// Models that are broken, one fault each, made by code: what every reader must refuse with one clear line.
// Used by broken_files_test.cc, and by make_broken_files for tests of the program and as seeds for fuzzing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sluice/error.h"

namespace sluice::test {

struct BrokenModel {
  std::string path;                                        // what to open, relative: a file or a directory
  std::vector<std::pair<std::string, std::string>> files;  // path relative, content
  ErrorKind kind;
  std::vector<std::string> mentions;  // all of these stand in the message: file, place, field, remedy
};

std::vector<BrokenModel> broken_gguf();
std::vector<BrokenModel> broken_safetensors();
std::vector<BrokenModel> broken_directories();
std::vector<BrokenModel> broken_models();  // all of them

// The same models with no fault, from which the broken ones are made.
std::string valid_gguf();
std::string valid_safetensors();

// With the directories that it needs.
void write_file(const std::string& path, const std::string& content);

// All files of the models, under `root`.
void write_models(const std::string& root, const std::vector<BrokenModel>& models);

}  // namespace sluice::test
