// A line at the bottom of the terminal that changes while text scrolls above it. Does nothing where standard
// output is no terminal or NO_COLOR (or a dumb terminal) forbids escape sequences.
#pragma once

#include <string>

namespace sluice {

class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool enabled() const noexcept { return rows_ > 0; }
  // At most a few times a second; calls between are left out.
  bool due() const;
  void show(const std::string& text);  // without escape sequences

 private:
  void reserve();  // the bottom row, in a terminal of rows_

  int rows_ = 0;  // of the terminal, 0: disabled
  double last_ = 0;
};

}  // namespace sluice
