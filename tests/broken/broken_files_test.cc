#include "broken_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "format/checkpoint.h"
#include "tests/scratch.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

class BrokenFiles : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return root_ / name; }

  void expect_refused(const std::string& name, ErrorKind kind,
                      const std::vector<std::string>& mentions) const {
    SCOPED_TRACE(name);
    try {
      Checkpoint::open(path(name));
      ADD_FAILURE() << "opened";
    } catch (const Error& e) {
      const std::string message = e.what();
      EXPECT_EQ(e.kind(), kind) << error_kind_name(e.kind()) << ": " << message;
      EXPECT_EQ(message.find_first_of("\n\r\x1b"), std::string::npos) << message;
      EXPECT_LT(message.size(), 600u) << message;
      for (const std::string& mention : mentions) {
        EXPECT_NE(message.find(mention), std::string::npos) << "lacks \"" << mention << "\": " << message;
      }
    }
  }

  void expect_all_refused(const std::vector<BrokenModel>& models) const {
    write_models(root_.path().string(), models);
    std::set<std::string> paths;
    for (const BrokenModel& model : models) {
      EXPECT_TRUE(paths.insert(model.path).second) << model.path;
      expect_refused(model.path, model.kind, model.mentions);
    }
  }

  Scratch root_;
};

TEST_F(BrokenFiles, Gguf) { expect_all_refused(broken_gguf()); }
TEST_F(BrokenFiles, Safetensors) { expect_all_refused(broken_safetensors()); }
TEST_F(BrokenFiles, Directories) { expect_all_refused(broken_directories()); }

// What the broken ones are made from is right: no fault is found for another reason.
TEST_F(BrokenFiles, ValidOnesOpen) {
  write_file(path("v3.gguf"), valid_gguf());
  EXPECT_EQ(Checkpoint::open(path("v3.gguf"))->tensors().size(), 2u);
  std::string version_2 = valid_gguf();
  version_2[4] = 2;
  write_file(path("v2.gguf"), version_2);
  EXPECT_EQ(Checkpoint::open(path("v2.gguf"))->tensors().size(), 2u);

  write_file(path("hf/config.json"), "{}");
  write_file(path("hf/model.safetensors"), valid_safetensors());
  EXPECT_EQ(Checkpoint::open(path("hf"))->tensors().size(), 2u);

  write_file(path("gguf/config.json"), "{}");
  write_file(path("gguf/model.gguf"), valid_gguf());
  EXPECT_EQ(Checkpoint::open(path("gguf"))->family(), CheckpointFamily::kGguf);
}

TEST_F(BrokenFiles, SpecialFiles) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  expect_refused("pipe", ErrorKind::kInvalid, {"pipe", "GGUF file or a directory"});
  fs::create_symlink("/dev/null", path("device"));
  expect_refused("device", ErrorKind::kInvalid, {"device", "GGUF file or a directory"});
  fs::create_symlink("nowhere", path("dangling"));
  expect_refused("dangling", ErrorKind::kNotFound, {"dangling"});
  fs::create_symlink("loop", path("loop"));
  expect_refused("loop", ErrorKind::kIo, {"loop"});
  fs::create_directory(path("empty"));
  expect_refused("empty", ErrorKind::kNotFound, {"empty", "no model in this directory"});
}

// A pipe in the place of a shard must not block.
TEST_F(BrokenFiles, PipeAsShard) {
  write_file(path("hf/config.json"), "{}");
  write_file(path("hf/model.safetensors.index.json"), R"({"weight_map": {"a": "pipe.safetensors"}})");
  ASSERT_EQ(::mkfifo(path("hf/pipe.safetensors").c_str(), 0600), 0);
  expect_refused("hf", ErrorKind::kInvalid, {"pipe.safetensors"});
}

}  // namespace
}  // namespace sluice::test
