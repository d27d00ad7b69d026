// Errors of the world: files, disks, requests, budgets. Bugs are SLUICE_CHECK's (src/base/check.h).
#pragma once

#include <stdexcept>
#include <string>

namespace sluice {

enum class ErrorKind {
  kNotFound,     // the file, model or tensor is not there
  kCorrupt,      // the bytes contradict their format
  kUnsupported,  // well-formed, but not something that this version can run
  kInvalid,      // the request makes no sense (options, prompts, shapes)
  kIo,           // the operating system failed a read or write
  kNoMemory,     // the budget or the machine cannot hold it
  kCancelled,    // somebody asked to stop
};

// Lower-case English name, e.g. "corrupt".
const char* error_kind_name(ErrorKind kind);

// Thrown by the library for everything that is not a bug. `what()` is one line that says what was wrong,
// where (file, tensor, offset, field) and what would do instead.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace sluice
