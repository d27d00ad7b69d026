#include "base/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace sluice {
namespace {

TEST(Environment, EmptyIsUnset) {
  ::setenv("HF_HOME", "/models", 1);
  EXPECT_EQ(read_environment(Variable::kHfHome), "/models");
  ::setenv("HF_HOME", "", 1);
  EXPECT_EQ(read_environment(Variable::kHfHome), std::nullopt);
  ::unsetenv("HF_HOME");
  EXPECT_EQ(read_environment(Variable::kHfHome), std::nullopt);
}

TEST(Environment, TheStateHasItsPlace) {
  ::setenv("HOME", "/home/me", 1);
  ::unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(state_directory(), "/home/me/.local/state/sluice");
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(state_directory(), "/state/sluice");
  ::unsetenv("XDG_STATE_HOME");
  ::unsetenv("HOME");
  EXPECT_EQ(state_directory(), "");
}

}  // namespace
}  // namespace sluice
