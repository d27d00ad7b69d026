// sluice forge: synthetic checkpoints for tests and benchmarks.
#include "forge/forge.h"

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "platform/clock.h"

namespace sluice {
namespace {

struct ForgeFlags {
  ForgeOptions options;
  std::string encoding = "q4_0";
  std::string family;  // empty: hf for affine, else gguf
  std::string router = "uniform";
  std::string outliers;
  bool json = false;
};

// "uniform" is 0, "zipf:1.1" is 1.1.
double parse_router(const std::string& text) {
  if (text == "uniform") return 0;
  char* end = nullptr;
  const double exponent = text.rfind("zipf:", 0) == 0 ? std::strtod(text.c_str() + 5, &end) : 0;
  if (!end || *end != '\0' || !(exponent > 0 && exponent <= 4)) {
    throw_error(ErrorKind::kInvalid, "--router: '%s' is neither 'uniform' nor 'zipf:A' with A in (0, 4]",
                printable(text).c_str());
  }
  return exponent;
}

// "4:50" is four channels, 50 times the rest. What fits the shape is forge()'s to say.
void parse_outliers(const std::string& text, ForgeOptions& options) {
  if (text.empty()) return;
  char* end = nullptr;
  options.outliers = std::strtoll(text.c_str(), &end, 10);
  const bool has_count = end != text.c_str() && *end == ':' && options.outliers > 0;
  const char* const scale = end + 1;
  if (has_count) options.outlier_scale = std::strtod(scale, &end);
  if (!has_count || end == scale || *end != '\0') {
    throw_error(ErrorKind::kInvalid, "--outliers: '%s' is no N:SCALE; try 4:50", printable(text).c_str());
  }
}

int run_forge(ForgeFlags flags) {
  catch_interrupts();
  ForgeOptions& options = flags.options;
  options.encoding = encoding_from_name(flags.encoding);
  if (options.encoding == Encoding::kCount) {
    throw_error(ErrorKind::kInvalid, "--encoding: '%s' is no encoding; try q4_0, q4_k, affine4 or bf16",
                printable(flags.encoding).c_str());
  }
  const bool affine = encoding_info(options.encoding).family == Family::kAffine;
  const bool hf = flags.family.empty() ? affine : flags.family == "hf";
  options.family = hf ? CheckpointFamily::kHuggingFace : CheckpointFamily::kGguf;
  options.zipf = parse_router(flags.router);
  parse_outliers(flags.outliers, options);

  const double start = monotonic_seconds();
  ProgressBar bar("forging");
  const ForgeResult result = forge(options, [&bar](uint64_t done, uint64_t total) {
    if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted; nothing was written");
    bar.update(done, total);
  });
  const double seconds = monotonic_seconds() - start;
  if (flags.json) {
    const nlohmann::ordered_json report = {{"path", options.out},
                                           {"bytes", result.bytes},
                                           {"parameters", result.n_parameters},
                                           {"seconds", seconds}};
    write_stdout(report.dump(2) + "\n");
  } else {
    write_stdout(format_string(
        "%s: %.3g billion parameters, %s in %s (%s/s)\n", options.out.c_str(),
        static_cast<double>(result.n_parameters) * 1e-9, format_bytes(result.bytes).c_str(),
        format_seconds(seconds).c_str(),
        format_bytes(static_cast<uint64_t>(static_cast<double>(result.bytes) / seconds)).c_str()));
  }
  return kExitOk;
}

}  // namespace

Action define_forge(Arguments& args) {
  auto flags = std::make_shared<ForgeFlags>();
  ForgeOptions& options = flags->options;
  args.option("--shape SHAPE", options.shape,
              "llama-1b, dense-7b, moe-small, moe-8g, llama-tiny, moe-tiny, or a config.json")
      .show_default();
  args.option("--encoding ENCODING", flags->encoding, "of the matrices: any that the engine reads")
      .show_default();
  args.option("--group N:{32,64,128}", options.group, "of affine encodings: 32, 64 or 128")
      .one_of({"32", "64", "128"})
      .show_default();
  args.option("--family FAMILY:{gguf,hf}", flags->family,
              "gguf or hf; by default what the encoding is at home in")
      .one_of({"gguf", "hf"});
  args.option("--router ROUTER", flags->router,
              "which experts are chosen: uniform, or zipf:A with probability ~ 1 / rank^A")
      .show_default();
  args.option("--outliers N:SCALE", flags->outliers,
              "N channels of every normed row are SCALE times the rest");
  args.option("--seed N", options.seed, "the same seed gives the same bytes").show_default();
  args.option("-o,--out PATH", options.out, "the GGUF file, or the directory").required();
  args.flag("--json", flags->json, "print path, bytes, parameters and seconds as one JSON object");
  args.footer(R"(
examples:
  sluice forge --shape llama-1b --encoding q4_0 --out llama-1b.gguf
  sluice forge --shape moe-8g --encoding affine4 --router zipf:1.1 --seed 7 --out ./moe-8g
  sluice forge --shape llama-1b --encoding q4_k --outliers 4:50 --out outliers.gguf
  sluice forge --shape my-config.json --encoding bf16 --family hf --out ./mine

The weights are random: such a model speaks gibberish, but loads, streams, routes and computes like a real one
of its shape. Files are written in full, without holes. The norms' weights make the outliers, so the inputs of
q, k, v, gate, up, router and head have them, as in trained models; those of o and down have none.)");
  return [flags] { return run_forge(*flags); };
}

}  // namespace sluice
