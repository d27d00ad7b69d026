// What this machine can do, measured now: the denominators of every statement about speed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// Bytes per second that `n_threads` threads read from a buffer of `buffer_bytes`, the best of several passes.
// Larger than the caches, or it measures those.
double measure_memory_bandwidth(int n_threads, uint64_t buffer_bytes);

// Bytes per second of reads around the page cache (O_DIRECT) of 1 MiB, 16 in flight, through the files from
// their beginning for about a second. 0 where the file system has no O_DIRECT.
double measure_disk_bandwidth(const std::vector<std::string>& files);

// Operations per second (a multiply and an add are two) of int8 products of `isa` on registers alone.
double measure_int8_peak(int n_threads, const std::string& isa);

}  // namespace sluice
