#include "broken_files.h"

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace sluice::test {

void write_models(const std::string& root, const std::vector<BrokenModel>& models) {
  for (const BrokenModel& model : models) {
    for (const auto& [name, content] : model.files) {
      const std::filesystem::path path = std::filesystem::path(root) / name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream out(path, std::ios::binary);
      out << content;
      if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
    }
  }
}

}  // namespace sluice::test
