#include "format/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <tuple>

#include "base/check.h"
#include "base/error.h"
#include "format/gguf.h"
#include "format/huggingface.h"
#include "platform/file.h"

namespace sluice {
namespace {

bool starts_with(std::string_view bytes, std::string_view magic) {
  return bytes.substr(0, magic.size()) == magic;
}

struct Refusal {
  ErrorKind kind;
  const char* reason;
};

// Why a file that does not begin with "GGUF" cannot be run, and what to do instead.
Refusal refuse_file(std::string_view start) {
  using enum ErrorKind;
  if (start.empty()) return {kCorrupt, "the file is empty; download it again"};
  if (starts_with(start, "FUGG")) {
    return {kUnsupported,
            "begins with 'FUGG', GGUF in reversed byte order; convert the model for little-endian machines"};
  }
  if (starts_with(start, "version https://git-lfs")) {
    return {kUnsupported, "is a Git LFS pointer, not the model itself; run 'git lfs pull' there"};
  }
  for (const char* magic : {"lmgg", "fmgg", "tjgg"}) {
    if (starts_with(start, magic)) {
      return {kUnsupported, "is a GGML file from before GGUF; convert the original model to GGUF"};
    }
  }
  if (starts_with(start, "PK\x03\x04") || (start.size() > 1 && start[0] == '\x80' && start[1] <= 5)) {
    return {kUnsupported, "is a PyTorch file, which can run code when read; convert it to safetensors"};
  }
  if (start.size() > 8 && start[8] == '{') {
    return {kInvalid, "is one safetensors file; give the directory that holds it together with config.json"};
  }
  return {kUnsupported,
          "is no model file: expected GGUF (a file that begins with 'GGUF') or a directory with safetensors"};
}

std::shared_ptr<const Checkpoint> open_file(const std::string& path) {
  const std::shared_ptr<const File> file = File::open(path);
  char start[32];
  const size_t n = std::min<uint64_t>(sizeof(start), file->size());
  file->read_at(0, std::as_writable_bytes(std::span(start, n)));
  const std::string_view magic(start, n);
  if (starts_with(magic, "GGUF")) return open_gguf(path);
  const Refusal refusal = refuse_file(magic);
  throw_error(refusal.kind, "%s: %s", path.c_str(), refusal.reason);
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) throw_errno(errno, "cannot open model", path);
  if (S_ISDIR(status.st_mode)) return open_huggingface(path);
  if (S_ISREG(status.st_mode)) return open_file(path);
  const char* what = S_ISFIFO(status.st_mode) ? "a pipe" : S_ISSOCK(status.st_mode) ? "a socket" : "a device";
  throw_error(ErrorKind::kInvalid, "%s: is %s; a model is a GGUF file or a directory with safetensors",
              path.c_str(), what);
}

const TensorInfo* Checkpoint::find(std::string_view name) const noexcept {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [this](uint32_t i, std::string_view n) { return tensors_[i].name < n; });
  return found != by_name_.end() && tensors_[*found].name == name ? &tensors_[*found] : nullptr;
}

uint64_t Checkpoint::total_bytes() const noexcept {
  // Cannot overflow: the extents are disjoint parts of files.
  return std::accumulate(tensors_.begin(), tensors_.end(), uint64_t{0},
                         [](uint64_t sum, const TensorInfo& tensor) { return sum + tensor.bytes; });
}

const nlohmann::ordered_json& Checkpoint::config() const {
  check_failed(__FILE__, __LINE__, "family() == CheckpointFamily::kHuggingFace", "%s", path_.c_str());
}

const GgufMetadata& Checkpoint::metadata() const {
  check_failed(__FILE__, __LINE__, "family() == CheckpointFamily::kGguf", "%s", path_.c_str());
}

void Checkpoint::finish() {
  // Ties are empty tensors and the one that begins where they lie.
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.file, a.offset, a.bytes) < std::tie(b.file, b.offset, b.bytes);
  });
  for (size_t i = 1; i < tensors_.size(); ++i) {
    const TensorInfo& before = tensors_[i - 1];
    const TensorInfo& tensor = tensors_[i];
    if (before.file == tensor.file && before.offset + before.bytes > tensor.offset) {
      throw_error(ErrorKind::kCorrupt,
                  "%s: tensor '%s' at offset %" PRIu64 " overlaps tensor '%s', which ends at %" PRIu64
                  "; download the file again",
                  files_[tensor.file].c_str(), printable(tensor.name).c_str(), tensor.offset,
                  printable(before.name).c_str(), before.offset + before.bytes);
    }
  }
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::sort(by_name_.begin(), by_name_.end(),
            [this](uint32_t a, uint32_t b) { return tensors_[a].name < tensors_[b].name; });
  for (size_t i = 1; i < by_name_.size(); ++i) {
    const TensorInfo& first = tensors_[by_name_[i - 1]];
    const TensorInfo& second = tensors_[by_name_[i]];
    if (first.name == second.name) {
      throw_error(ErrorKind::kCorrupt,
                  "%s: tensor '%s' is there twice (the other in %s); download the model again",
                  files_[second.file].c_str(), printable(second.name).c_str(), files_[first.file].c_str());
    }
  }
}

}  // namespace sluice
