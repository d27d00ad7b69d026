#include "cli/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "cli/interrupt.h"

namespace sluice {
namespace {

constexpr size_t kMaxOutput = size_t{16} << 20;
constexpr size_t kKeptOfErrors = 2048;

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) throw_errno(errno, "a pipe for", "/bin/sh");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int end(size_t which) const { return ends_[which]; }
  void close_end(size_t which) {
    if (ends_[which] >= 0) close(std::exchange(ends_[which], -1));
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};  // to read from, to write to
};

// In a process group of its own, with the signals that we ignore as they were.
pid_t spawn_shell(const std::string& command, int out, int err) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  std::string text = command;
  char shell[] = "sh", option[] = "-c";
  char* const arguments[] = {shell, option, text.data(), nullptr};
  pid_t child = -1;
  const int error = posix_spawn(&child, "/bin/sh", &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) throw_errno(error, "starting", "/bin/sh");
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

[[noreturn]] void terminate(pid_t child, ErrorKind kind, const char* why) {
  kill(-child, SIGTERM);
  wait_for(child);
  throw_error(kind, "%s", why);
}

}  // namespace

ChildOutcome run_shell(const std::string& command) {
  Pipe out, err;
  const pid_t child = spawn_shell(command, out.end(1), err.end(1));
  out.close_end(1);
  err.close_end(1);
  ChildOutcome outcome;
  std::array<char, 16384> buffer;
  std::array<pollfd, 2> waiting = {pollfd{out.end(0), POLLIN, 0}, pollfd{err.end(0), POLLIN, 0}};
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    const int ready = poll(waiting.data(), waiting.size(), 200);  // a moment: signals may hit other threads
    if (interrupted()) terminate(child, ErrorKind::kCancelled, "interrupted while another program ran");
    if (ready <= 0) continue;
    for (pollfd& end : waiting) {
      if (end.fd < 0 || end.revents == 0) continue;
      const ssize_t n = read(end.fd, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        end.fd = -1;  // poll() skips it; the pipe closes its own
        continue;
      }
      std::string& text = &end == &waiting[0] ? outcome.out : outcome.err;
      text.append(buffer.data(), static_cast<size_t>(n));
    }
    if (outcome.err.size() > kKeptOfErrors) outcome.err.erase(0, outcome.err.size() - kKeptOfErrors);
    if (outcome.out.size() > kMaxOutput)
      terminate(child, ErrorKind::kInvalid, "another program printed more than 16 MiB; it was stopped");
  }
  outcome.exit_code = wait_for(child);
  return outcome;
}

}  // namespace sluice
