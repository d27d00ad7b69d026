// The built binary as a test sees it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice::test {

struct Outcome {
  int code = -1;    // exit code, or 128 + signal
  std::string out;  // standard output
  std::string err;
};

inline pid_t start(const std::vector<std::string>& arguments, int in, int out, int err) {
  const pid_t child = fork();
  if (child != 0) return child;
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  std::vector<char*> argv = {const_cast<char*>(SLUICE_BINARY)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(SLUICE_BINARY, argv.data());
  _exit(127);
}

inline int exit_code(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline Outcome sluice(const std::vector<std::string>& arguments, const std::string& input = "") {
  const Scratch scratch;
  const int in = open(scratch.write("in", input).c_str(), O_RDONLY);
  const int out = open((scratch / "out").c_str(), O_CREAT | O_WRONLY, 0600);
  const int err = open((scratch / "err").c_str(), O_CREAT | O_WRONLY, 0600);
  Outcome outcome;
  outcome.code = exit_code(start(arguments, in, out, err));
  for (const int fd : {in, out, err}) close(fd);
  outcome.out = read_file(scratch / "out");
  outcome.err = read_file(scratch / "err");
  return outcome;
}

// Nothing on standard output, one line on standard error that has `word` in it.
inline void expect_refused(const std::vector<std::string>& arguments, int code, const std::string& word) {
  const Outcome outcome = sluice(arguments);
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.rfind("sluice: ", 0), 0U) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
}

inline std::string stories() { return shared_path("data/derived/stories260K/stories260K-F32.gguf"); }
inline std::string stories_hf() { return shared_path("data/derived/stories260K/hf"); }
inline std::string demo() { return shared_path("demo-model"); }

}  // namespace sluice::test
