// Where the tests find real data: SLUICE_SHARED, or ../shared beside the project. Without it a test that
// needs it says so and is skipped.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace sluice::test {

inline std::filesystem::path shared_root() {
  if (const char* root = std::getenv("SLUICE_SHARED"); root && *root) return root;
  return std::filesystem::path(SLUICE_SOURCE_DIR).parent_path() / "shared";
}

// E.g. shared_path("data/text/wiki.test.raw").
inline std::string shared_path(const std::string& relative) { return (shared_root() / relative).string(); }

inline bool have_shared() { return std::filesystem::exists(shared_root() / "data" / "INDEX.md"); }

// The whole file. A missing file is a test failure, not an empty string.
inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace sluice::test

#define SLUICE_REQUIRE_SHARED() \
  if (!::sluice::test::have_shared()) GTEST_SKIP() << "skipped: no shared data"
