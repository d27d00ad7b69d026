#include "hub/model_path.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/environment.h"
#include "hub/hf_cache.h"
#include "sluice/error.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// A cache as the hub's own tools leave it: files are links into blobs.
class ModelPath : public ::testing::Test {
 protected:
  void SetUp() override {
    add("models--Qwen--Qwen3-0.6B", "abc123", {"config.json", "model.safetensors"});
    add("models--gpt2", "def456", {"config.json"});
    add("models--bartowski--Llama-3-GGUF", "0a0a",
        {"Llama-3-Q4_K_M.gguf", "Llama-3-Q4_K_S.gguf", "Llama-3-Q8_0/Llama-3-Q8_0-00001-of-00002.gguf",
         "Llama-3-Q8_0/Llama-3-Q8_0-00002-of-00002.gguf", "mmproj-Q4_K_M.gguf"});
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) ::unsetenv(name);
    ::setenv("HF_HUB_CACHE", root_.c_str(), 1);
  }
  void TearDown() override { ::unsetenv("HF_HUB_CACHE"); }

  void add(const std::string& model, const std::string& commit, const std::vector<std::string>& files) {
    write(root_ / model / "refs/main", commit);
    for (const std::string& file : files) {
      const fs::path blob = root_ / model / "blobs" / std::to_string(std::hash<std::string>()(file));
      write(blob, file);
      const fs::path link = root_ / model / "snapshots" / commit / file;
      fs::create_directories(link.parent_path());
      fs::create_symlink(blob, link);
    }
  }

  std::string failure(const std::string& name) {
    try {
      return "resolved to " + resolve_model(name);
    } catch (const Error& e) {
      return e.what();
    }
  }

  test::Scratch scratch_;
  fs::path root_ = scratch_.path();
};

TEST_F(ModelPath, Cache) {
  EXPECT_EQ(resolve_model("Qwen/Qwen3-0.6B"), root_ / "models--Qwen--Qwen3-0.6B/snapshots/abc123");
  EXPECT_EQ(resolve_model("hf.co/Qwen/Qwen3-0.6B"), root_ / "models--Qwen--Qwen3-0.6B/snapshots/abc123");
  EXPECT_EQ(resolve_model("Qwen/Qwen3-0.6B@abc123"), root_ / "models--Qwen--Qwen3-0.6B/snapshots/abc123");
  EXPECT_EQ(resolve_model("gpt2"), root_ / "models--gpt2/snapshots/def456");
}

TEST_F(ModelPath, Quantisation) {
  const fs::path snapshot = root_ / "models--bartowski--Llama-3-GGUF/snapshots/0a0a";
  EXPECT_EQ(resolve_model("bartowski/Llama-3-GGUF:q4_k_m"), snapshot / "Llama-3-Q4_K_M.gguf");
  EXPECT_EQ(resolve_model("bartowski/Llama-3-GGUF:Q8_0"),
            snapshot / "Llama-3-Q8_0/Llama-3-Q8_0-00001-of-00002.gguf");
  EXPECT_NE(failure("bartowski/Llama-3-GGUF").find("3 GGUF files"), std::string::npos);
  const std::string message = failure("bartowski/Llama-3-GGUF:Q4_K");
  EXPECT_NE(message.find("there is Llama-3-Q4_K_M.gguf, "), std::string::npos) << message;
}

TEST_F(ModelPath, Paths) {
  EXPECT_EQ(resolve_model(root_), root_);
  write(root_ / "model.gguf", "GGUF");
  EXPECT_EQ(resolve_model(root_ / "model.gguf"), root_ / "model.gguf");
}

// Whether or not this build has the demo, the answer names its directory.
TEST_F(ModelPath, Demo) {
  EXPECT_NE(failure("demo").find("models/demo"), std::string::npos) << failure("demo");
}

TEST_F(ModelPath, SaysWhereItLooked) {
  const std::string missing = failure("Qwen/Qwen3-0.8B");
  EXPECT_NE(missing.find(root_.string()), std::string::npos) << missing;
  EXPECT_NE(missing.find("did you mean Qwen/Qwen3-0.6B?"), std::string::npos) << missing;
  EXPECT_NE(failure("nobody/zzzzzzzzzzzz").find("hf download"), std::string::npos)
      << failure("nobody/zzzzzzzzzzzz");
  EXPECT_NE(failure("gpt2@no-such-branch").find("revision 'no-such-branch'"), std::string::npos);
}

TEST_F(ModelPath, StaysInTheCache) {
  write(root_ / "outside/config.json", "{}");
  write(root_ / "models--gpt2/refs/evil", "../../outside");
  for (const char* name :
       {"gpt2@../../outside", "gpt2@evil", "../x/y", "a/b/c", "gpt2@", "gpt2:", ".hidden/name"}) {
    EXPECT_THROW(resolve_model(name), Error) << name;
  }
}

TEST_F(ModelPath, CachePrecedence) {
  ::setenv("HOME", "/h", 1);
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(HfCache::from_environment().directory(), "/h/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(HfCache::from_environment().directory(), "/x/huggingface/hub");
  ::setenv("HF_HOME", "/f", 1);
  EXPECT_EQ(HfCache::from_environment().directory(), "/f/hub");
  ::setenv("HF_HUB_CACHE", "/c", 1);
  EXPECT_EQ(HfCache::from_environment().directory(), "/c");
}

}  // namespace
}  // namespace sluice
