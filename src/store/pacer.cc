#include "store/pacer.h"

#include "base/error.h"
#include "base/units.h"

namespace sluice {

void Pacer::begin_pass(bool is_measured, uint64_t now_ns, uint64_t stall_ns) {
  if (!is_on()) return;
  reads_.limit_unawaited(is_measured ? law_.limit() : 0);
  begin_ns_ = now_ns;
  begin_stall_ns_ = stall_ns;
  begin_unawaited_ = reads_.unawaited_bytes();  // first: what is read in between counts as awaited
  begin_bytes_ = reads_.bytes_read();
}

void Pacer::end_pass(uint64_t now_ns, uint64_t stall_ns, uint64_t kernel_ns, uint64_t calm_ns) {
  if (!is_on()) return;
  const uint64_t unawaited = reads_.unawaited_bytes() - begin_unawaited_;
  const uint64_t bytes = reads_.bytes_read() - begin_bytes_;
  reads_.limit_unawaited(law_.add({.elapsed_ns = now_ns - begin_ns_,
                                   .stall_ns = stall_ns - begin_stall_ns_,
                                   .kernel_ns = kernel_ns,
                                   .calm_ns = calm_ns,
                                   .awaited_bytes = bytes > unawaited ? bytes - unawaited : 0,
                                   .unawaited_bytes = unawaited}));
}

std::string Pacer::describe() const {
  const PaceReport now = report();
  if (!is_on() || now.kernel_ns == 0) return {};
  std::string text = format_string("; beside reads arithmetic is %.1f %% slower", 100 * now.lost);
  if (now.limit > 0)
    text += format_string(", reads ahead at most %s/s", format_bytes(now.limit).c_str());
  else if (2 * now.io_bound_windows > now.windows)
    text += ", waiting costs more: no limit";
  else
    text += ", no limit now";
  return text;
}

}  // namespace sluice
