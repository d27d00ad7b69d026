// Any text as config.json and as model.safetensors.index.json of a directory with one shard; a NUL byte
// separates the two. Seeds: the directory that make_broken_files writes.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "format/checkpoint.h"
#include "format/safetensors.h"
#include "sluice/error.h"

using namespace sluice;

namespace {

class Directory {
 public:
  Directory() : path_("/dev/shm/sluice_config_fuzz_" + std::to_string(::getpid())) {
    std::filesystem::create_directory(path_);
    SafetensorsWriter writer((path_ / "shard.safetensors").string(), "pt");
    writer.declare_tensor("a", "F32", std::vector<uint64_t>{1});
    writer.begin_data();
    writer.write(std::vector<std::byte>(4));
    writer.commit();
  }
  ~Directory() { std::filesystem::remove_all(path_); }

  std::string path() const { return path_.string(); }
  void write(const char* name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory directory;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\0'), text.size());
  directory.write("config.json", text.substr(0, end));
  directory.write("model.safetensors.index.json", end == text.size() ? text : text.substr(end + 1));
  try {
    const auto checkpoint = Checkpoint::open(directory.path());
    SLUICE_CHECK(checkpoint->config().is_object());
    SLUICE_CHECK(checkpoint->find("a") != nullptr);
  } catch (const Error&) {
  }
  return 0;
}
