// Ctrl-C: the first one asks to stop, the second kills.
#pragma once

namespace sluice {

// From here on the first SIGINT only sets a flag; the next one ends the process, after putting the terminal
// back to how it is now, as SIGTERM and SIGHUP do at once.
void catch_interrupts();

bool interrupted() noexcept;

// Forgets an interrupt that has been dealt with and catches again.
void rearm_interrupts();

// Bytes to write to the terminal when a signal ends the process; nullptr for none. The string must be
// static.
void set_terminal_reset(const char* escape_sequence) noexcept;

// A closed pipe becomes a write error instead of a signal.
void ignore_broken_pipes();

}  // namespace sluice
