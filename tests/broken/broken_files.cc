#include "broken_files.h"

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace sluice::test {

void write_file(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream out(path, std::ios::binary);
  out << content;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

void write_models(const std::string& root, const std::vector<BrokenModel>& models) {
  for (const BrokenModel& model : models) {
    for (const auto& [name, content] : model.files) write_file(std::filesystem::path(root) / name, content);
  }
}

}  // namespace sluice::test
