// What memory and arithmetic of this machine can do, measured now: the denominators of every statement about
// speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// The best of several loops that read a buffer: what one kind of page and number of threads allow.
struct ReadPeak {
  int n_threads = 0;
  bool huge_pages = false;
  int n_streams = 0;          // that each thread reads side by side
  size_t prefetch_bytes = 0;  // how far ahead it fetches in each; 0: not at all
  double bytes_per_second = 0;
};

// With 1 and with `n_threads` threads, on pages of 4 KiB and on huge ones. The latter are left out where the
// system gives none. A buffer that is not larger than the caches measures those. Every loop runs `n_passes`
// times.
std::vector<ReadPeak> measure_reads(int n_threads, uint64_t buffer_bytes, int n_passes = 3);

// Bytes to read for the above: larger than the caches, at most `most`.
uint64_t read_buffer_bytes(uint64_t most);

// Operations per second (a multiply and an add are two) of products of `isa` on registers alone.
struct ArithmeticPeaks {
  double int8 = 0;
  double f32 = 0;
  double bf16 = 0;  // 0: this CPU or instruction set has none
};
ArithmeticPeaks measure_arithmetic(int n_threads, const std::string& isa, double seconds_each = 0.5);

}  // namespace sluice
