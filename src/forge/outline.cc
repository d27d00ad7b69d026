#include "forge/outline.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sluice {
namespace {

// What llama-quantize calls a file's type: the encoding of most matrices, of the head, and of the values and
// FFN outputs in the layers that it thinks matter most.
struct FileType {
  std::string_view name;
  Encoding most, head, important;
};
constexpr FileType kFileTypes[] = {
    {"bf16", Encoding::kBF16, Encoding::kBF16, Encoding::kBF16},
    {"f16", Encoding::kF16, Encoding::kF16, Encoding::kF16},
    {"q8_0", Encoding::kQ8_0, Encoding::kQ8_0, Encoding::kQ8_0},
    {"q6_k", Encoding::kQ6_K, Encoding::kQ6_K, Encoding::kQ6_K},
    {"q5_k_m", Encoding::kQ5_K, Encoding::kQ6_K, Encoding::kQ6_K},
    {"q4_k_m", Encoding::kQ4_K, Encoding::kQ6_K, Encoding::kQ6_K},
    {"q4_0", Encoding::kQ4_0, Encoding::kQ6_K, Encoding::kQ4_0},
};

const FileType& file_type_of(std::string_view name) {
  for (const FileType& type : kFileTypes)
    if (type.name == name) return type;
  throw_error(ErrorKind::kInvalid, "no file type '%s'; there are %s", printable(name).c_str(),
              Outline::file_types().c_str());
}

// The first eighth of the layers, the last, and every third between.
bool matters(int64_t layer, int64_t n) {
  return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

// What is taken in place of an encoding whose blocks do not fit the rows.
Encoding that_fits(Encoding wanted, int64_t cols) {
  if (cols_fit(wanted, {}, static_cast<uint64_t>(cols))) return wanted;
  switch (wanted) {
    case Encoding::kQ4_K:
      wanted = Encoding::kQ5_0;
      break;
    case Encoding::kQ5_K:
      wanted = Encoding::kQ5_1;
      break;
    default:
      wanted = Encoding::kQ8_0;
  }
  return cols_fit(wanted, {}, static_cast<uint64_t>(cols)) ? wanted : Encoding::kF16;
}

Encoding choose(const FileType& type, const OutlinedMatrix& matrix) {
  const auto is = [&matrix](std::string_view part) {
    return matrix.name.find(part) != std::string_view::npos;
  };
  Encoding encoding = type.most;
  if (matrix.name == "output" || (matrix.name == "token_embd" && matrix.tied_head)) encoding = type.head;
  if ((is("attn_v") || is("ffn_down")) && matters(matrix.layer, matrix.n_layers)) encoding = type.important;
  return that_fits(encoding, matrix.cols);
}

}  // namespace

Outline::Outline(const nlohmann::ordered_json& config, std::string_view file_type) {
  const FileType& type = file_type_of(file_type);
  const ForgedHeader forged =
      forge_header(config, [&type](const OutlinedMatrix& matrix) { return choose(type, matrix); });
  bytes_ = forged.header.size() + forged.data_bytes;
  data_bytes_ = forged.data_bytes;
  n_parameters_ = forged.n_parameters;
  fd_ = ::memfd_create("sluice-outline", MFD_CLOEXEC);
  if (fd_ < 0) throw_errno(errno, "cannot make", "a file in memory");
  size_t done = 0;
  while (done < forged.header.size()) {
    const ssize_t n = ::write(fd_, forged.header.data() + done, forged.header.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  if (done < forged.header.size() || ::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) {
    const int error = errno;
    ::close(fd_);
    throw_errno(error, "cannot write", "a file in memory");
  }
}

Outline::~Outline() { ::close(fd_); }

std::string Outline::path() const { return format_string("/proc/self/fd/%d", fd_); }

std::string Outline::file_types() {
  std::string names;
  for (const FileType& type : kFileTypes) names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

}  // namespace sluice
