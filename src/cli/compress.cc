// sluice compress: a checkpoint into a smaller one.
#include "compress/compress.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "hub/model_path.h"
#include "platform/thread_pool.h"

namespace sluice {
namespace {

struct CompressFlags {
  CompressOptions options;
  std::string to, embedding, head, router;
  bool json = false;
};

Encoding parse_encoding(const char* option, const std::string& name) {
  const Encoding encoding = encoding_from_name(name);
  if (encoding == Encoding::kCount) {
    throw_error(ErrorKind::kInvalid,
                "%s: '%s' is no encoding; there are affine2, 3, 4, 5, 6, 8, q4_0, q8_0, bf16, f16 and f32",
                option, printable(name).c_str());
  }
  return encoding;
}

std::optional<Encoding> parse_optional(const char* option, const std::string& name) {
  if (name.empty()) return std::nullopt;
  return parse_encoding(option, name);
}

std::string encoding_text(const CompressedKind& kind) {
  std::string text(encoding_info(kind.encoding).name);
  if (kind.params.group) text += format_string("/%u", unsigned{kind.params.group});
  return text;
}

std::string table(const CompressResult& result) {
  std::string text = format_string("%-16s  %-11s  %7s  %10s  %8s  %s\n", "kind", "encoding", "tensors",
                                   "size", "bits", "worst relative rms");
  for (const CompressedKind& k : result.kinds) {
    const std::string where =
        k.worst_tensor.empty() ? "exact" : format_string("%.5f  %s", k.worst_error, k.worst_tensor.c_str());
    text +=
        format_string("%-16s  %-11s  %7lld  %10s  %8.2f  %s\n", k.kind.c_str(), encoding_text(k).c_str(),
                      static_cast<long long>(k.n_tensors), format_bytes(k.bytes).c_str(),
                      8.0 * static_cast<double>(k.bytes) / static_cast<double>(k.n_weights), where.c_str());
  }
  return text + format_string("%s -> %s, %.3f bits per weight\n", format_bytes(result.bytes_before).c_str(),
                              format_bytes(result.bytes_after).c_str(), result.bits_per_weight());
}

std::string as_json(const CompressResult& result) {
  nlohmann::ordered_json kinds = nlohmann::ordered_json::array();
  for (const CompressedKind& k : result.kinds) {
    kinds.push_back({{"kind", k.kind},
                     {"encoding", encoding_info(k.encoding).name},
                     {"group_size", k.params.group},
                     {"tensors", k.n_tensors},
                     {"weights", k.n_weights},
                     {"bytes", k.bytes},
                     {"worst_relative_rms", k.worst_error},
                     {"worst_tensor", k.worst_tensor}});
  }
  const nlohmann::ordered_json report = {{"bytes_before", result.bytes_before},
                                         {"bytes_after", result.bytes_after},
                                         {"weights", result.n_weights},
                                         {"bits_per_weight", result.bits_per_weight()},
                                         {"kinds", kinds}};
  return report.dump(2) + "\n";
}

int run_compress(CompressFlags flags) {
  catch_interrupts();
  CompressOptions& options = flags.options;
  options.model = resolve_model(options.model);
  options.encoding = parse_encoding("--to", flags.to);
  options.embedding = parse_optional("--embedding", flags.embedding);
  options.head = parse_optional("--head", flags.head);
  options.router = parse_optional("--router", flags.router);
  ProgressBar bar("compressing");
  const CompressResult result = compress(options, [&bar](uint64_t done, uint64_t total) {
    if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted; nothing was written");
    bar.update(done, total);
  });
  write_stdout(flags.json ? as_json(result) : table(result));
  return kExitOk;
}

}  // namespace

Action define_compress(Arguments& args) {
  auto flags = std::make_shared<CompressFlags>();
  CompressOptions& options = flags->options;
  args.positional("model MODEL", options.model,
                  "a directory, a GGUF file or a name in the Hugging Face cache")
      .required();
  args.option("--to ENCODING", flags->to,
              "affine2, 3, 4, 5, 6 or 8 (MLX); q4_0, q8_0 (GGUF); bf16, f16, f32 (both)")
      .required();
  args.option("-o,--out PATH", options.out, "NAME.gguf for a GGUF file, else a Hugging Face directory; new")
      .required();
  args.option("--group N", options.group,
              "weights that share a scale in affine encodings: 32, 64 or 128; smaller where rows need it")
      .show_default();
  args.option("--embedding ENCODING", flags->embedding,
              "another encoding for the embedding (and a tied head)");
  args.option("--head ENCODING", flags->head, "another encoding for the output matrix");
  args.option("--router ENCODING", flags->router,
              "another encoding for routers of experts; by default affine8, f32 in GGUF files, or as it was");
  args.option("--threads N:INT in [1 - 256]", options.n_threads,
              "threads that encode; the output does not depend on them")
      .range(1, 256)
      .show_default();
  args.flag("--json", flags->json, "print the summary as one JSON object");
  args.footer(R"(
examples:
  sluice compress Qwen/Qwen3-8B --to affine4 -o qwen3-8b-4bit
  sluice compress ./model --to affine4 --embedding affine8 --group 32 -o ./smaller
  sluice compress ./model --to q4_0 -o model-q4_0.gguf
  sluice compress model-f16.gguf --to q8_0 -o model-q8_0.gguf

Every weight is rounded to the nearest value; norms and biases stay as they are. Memory does not grow with
the model. The output appears only when it is complete. "Worst relative rms" is the change of the tensor that
lost most: the rms of what rounding moved over the rms of its weights.)");
  return [flags] { return run_compress(*flags); };
}

}  // namespace sluice
