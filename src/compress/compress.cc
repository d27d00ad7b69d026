#include "compress/compress.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/units.h"
#include "compress/output.h"
#include "compress/plan.h"
#include "compress/recode.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

void check_target(const std::string& out, uint64_t bytes) {
  if (out.empty()) throw_error(ErrorKind::kInvalid, "-o names no output");
  std::error_code error;
  if (fs::exists(out, error) && !(fs::is_directory(out, error) && fs::is_empty(out, error))) {
    throw_error(ErrorKind::kInvalid, "%s exists already; remove it or choose another name",
                printable(out).c_str());
  }
  const fs::path parent = fs::absolute(out).lexically_normal().parent_path();
  struct statvfs disk;
  if (::statvfs(parent.c_str(), &disk) != 0) return;  // creating the output will say why
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free < bytes) {
    throw_error(ErrorKind::kIo,
                "%s: the output needs %s and the disk has %s free; make room or choose another disk",
                printable(out).c_str(), format_bytes(bytes).c_str(), format_bytes(free).c_str());
  }
}

void account(CompressResult& result, const PlannedTensor& t, double error) {
  result.n_weights += t.n_weights();
  result.bytes_after += t.bytes();
  const std::string_view name = tensor_kind_name(t.kind);
  auto kind = std::find_if(result.kinds.begin(), result.kinds.end(), [&](const CompressedKind& k) {
    return k.kind == name && k.encoding == t.encoding && k.params == t.params;
  });
  if (kind == result.kinds.end()) {
    CompressedKind fresh;
    fresh.kind = name;
    fresh.encoding = t.encoding;
    fresh.params = t.params;
    kind = result.kinds.insert(kind, fresh);
  }
  ++kind->n_tensors;
  kind->n_weights += t.n_weights();
  kind->bytes += t.bytes();
  if (error > kind->worst_error) kind->worst_error = error, kind->worst_tensor = t.name;
}

}  // namespace

CompressResult compress(const CompressOptions& options,
                        const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const auto source = Checkpoint::open(options.model);
  const CompressPlan plan = plan_compression(*source, options);
  const uint64_t total = plan.bytes();
  check_target(options.out, total);
  const auto output = plan.family == CheckpointFamily::kGguf ? make_gguf_output(*source, plan, options)
                                                             : make_hf_output(*source, plan, options);
  Recoder recoder(plan.model, options.n_threads);
  CompressResult result;
  result.bytes_before = source->total_bytes();
  uint64_t done = 0;
  for (const PlannedTensor& tensor : plan.tensors) {
    const double error = recoder.write(tensor, [&](std::span<const std::byte> bytes) {
      output->write(bytes);
      done += bytes.size();
      if (progress) progress(done, total);
    });
    account(result, tensor, error);
  }
  output->commit();
  return result;
}

}  // namespace sluice
