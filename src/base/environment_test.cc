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

}  // namespace
}  // namespace sluice
