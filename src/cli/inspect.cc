// sluice inspect: what a checkpoint is and what memory budgets would give, from the files' headers alone.
#include <cinttypes>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "encoding/encoding.h"
#include "engine/memory_plan.h"
#include "format/checkpoint.h"
#include "hub/model_path.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  EngineOptions engine;
  bool tensors = false;
  bool json = false;
};

std::string dtype_of(const TensorInfo& tensor) {
  return tensor.encoding == Encoding::kCount ? tensor.dtype
                                             : std::string(encoding_info(tensor.encoding).name);
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json list = Json::array();
  for (const TensorInfo& tensor : checkpoint.tensors())
    list.push_back({{"name", tensor.name},
                    {"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"file", checkpoint.files()[tensor.file]},
                    {"offset", tensor.offset},
                    {"bytes", tensor.bytes}});
  return list;
}

std::string tensors_text(const Checkpoint& checkpoint) {
  std::string text;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    std::string shape;
    for (const uint64_t n : tensor.shape) shape += (shape.empty() ? "" : " x ") + std::to_string(n);
    text += format_string("  %-8s %-20s %10s  %s\n", dtype_of(tensor).c_str(), shape.c_str(),
                          format_bytes(tensor.bytes).c_str(), printable(tensor.name).c_str());
  }
  return text;
}

// Budgets that are worth a line: the least, one token's experts, quarters of all, all, and what auto takes.
std::vector<std::pair<std::string, MemoryOutlook>> outlooks(const Engine& engine) {
  const MemoryOutlook all = engine.outlook(UINT64_MAX / 2);
  const uint64_t automatic = std::min(parse_ram("auto", memory_info(), resident_bytes()), all.knee_ram);
  std::vector<std::pair<std::string, uint64_t>> rows = {{"minimum", all.smallest_ram}};
  if (engine.info().n_experts > 0) rows.emplace_back("one token", all.one_token_ram);
  for (const int percent : {25, 50, 75}) {
    const uint64_t ram = all.comfortable_ram / 100 * static_cast<uint64_t>(percent);
    if (ram > all.smallest_ram) rows.emplace_back(std::to_string(percent) + " %", ram);
  }
  rows.emplace_back("resident", all.comfortable_ram);
  rows.emplace_back("auto here", automatic);
  std::vector<std::pair<std::string, MemoryOutlook>> result;
  result.reserve(rows.size());
  for (const auto& [name, ram] : rows) result.emplace_back(name, engine.outlook(ram));
  return result;
}

Json report_json(const Engine& engine) {
  const ModelInfo& info = engine.info();
  Json encodings = Json::array();
  for (const EncodingUse& use : info.encodings)
    encodings.push_back({{"name", use.name},
                         {"weights", use.n_weights},
                         {"bytes", use.bytes},
                         {"bits_per_weight", use.bits_per_weight()}});
  Json budgets = Json::array();
  for (const auto& [name, o] : outlooks(engine))
    budgets.push_back({{"name", name},
                       {"ram_bytes", o.ram_bytes},
                       {"fits", o.fits},
                       {"weight_bytes", o.weight_bytes},
                       {"pinned_bytes", o.pinned_bytes},
                       {"cache_bytes", o.cache_bytes},
                       {"ring_bytes", o.ring_bytes},
                       {"streamed_bytes_per_pass", o.streamed_bytes},
                       {"kv_bytes", o.kv_bytes},
                       {"scratch_bytes", o.scratch_bytes},
                       {"process_bytes", o.process_bytes},
                       {"prefill_chunk", o.prefill_chunk}});
  const MemoryOutlook all = engine.outlook(UINT64_MAX / 2);
  return {{"path", info.path},
          {"family", info.family},
          {"architecture", info.architecture},
          {"parameters", info.n_parameters},
          {"layers", info.n_layers},
          {"hidden", info.hidden},
          {"heads", info.n_heads},
          {"kv_heads", info.n_kv_heads},
          {"head_dim", info.head_dim},
          {"vocab", info.vocab},
          {"experts", info.n_experts},
          {"experts_per_token", info.n_experts_per_token},
          {"trained_context", info.trained_context},
          {"context", engine.n_ctx()},
          {"tokenizer", engine.has_tokenizer()},
          {"chat_template", engine.has_chat_template()},
          {"file_bytes", info.file_bytes},
          {"encodings", encodings},
          {"bytes_per_token", info.bytes_per_token},
          {"kv_bytes_per_token", info.kv_bytes_per_token},
          {"minimum_ram_bytes", all.smallest_ram},
          {"one_token_ram_bytes", all.one_token_ram},
          {"resident_ram_bytes", all.comfortable_ram},
          {"budgets", budgets}};
}

std::string count(int64_t n) {
  if (n >= 1'000'000'000) return format_string("%.3g billion", static_cast<double>(n) * 1e-9);
  if (n >= 1'000'000) return format_string("%.3g million", static_cast<double>(n) * 1e-6);
  return std::to_string(n);
}

std::string report_text(const Engine& engine) {
  const ModelInfo& info = engine.info();
  std::string text = printable(info.path, 400) + "\n";
  const auto line = [&text](const char* label, const std::string& value) {
    text += format_string("  %-15s %s\n", label, value.c_str());
  };
  line("architecture", info.architecture + ", " + info.family);
  line("parameters", count(info.n_parameters));
  line("layers", format_string("%" PRId64 ", hidden %" PRId64 ", %" PRId64 " heads and %" PRId64
                               " KV heads of %" PRId64,
                               info.n_layers, info.hidden, info.n_heads, info.n_kv_heads, info.head_dim));
  if (info.n_experts > 0)
    line("experts",
         format_string("%" PRId64 ", %" PRId64 " per token", info.n_experts, info.n_experts_per_token));
  line("vocabulary", format_string("%" PRId64 "%s%s", info.vocab,
                                   engine.has_tokenizer() ? ", with tokenizer" : ", no tokenizer",
                                   engine.has_chat_template() ? " and chat template" : ""));
  line("context",
       format_string("%" PRId64 " trained, %" PRId64 " used", info.trained_context, engine.n_ctx()));
  line("on disk", format_bytes(info.file_bytes));
  for (const EncodingUse& use : info.encodings)
    line("encoding", format_string("%s: %s, %.2f bits per weight", use.name.c_str(),
                                   format_bytes(use.bytes).c_str(), use.bits_per_weight()));
  line("per token", format_bytes(info.bytes_per_token) + " of weights read, " +
                        format_bytes(info.kv_bytes_per_token) + " of KV cache made");

  text += format_string("\n  --ram for a context of %" PRId64 ":\n", engine.n_ctx());
  text += format_string("  %-10s %10s %10s %10s %12s %10s %6s\n", "", "--ram", "pinned", "cached",
                        "read/pass", "KV", "chunk");
  for (const auto& [name, o] : outlooks(engine)) {
    text += format_string("  %-10s %10s", name.c_str(), format_bytes(o.ram_bytes).c_str());
    if (!o.fits) {
      text += "  too small\n";
      continue;
    }
    text += format_string(" %10s %10s %12s %10s %6" PRId64 "\n", format_bytes(o.pinned_bytes).c_str(),
                          format_bytes(o.cache_bytes).c_str(), format_bytes(o.streamed_bytes).c_str(),
                          format_bytes(o.kv_bytes).c_str(), o.prefill_chunk);
  }
  const MemoryInfo machine = memory_info();
  const uint64_t possible = parse_ram("auto", machine, resident_bytes());
  text += "  " + explain_auto(possible, engine.outlook(possible).knee_ram, machine) + "\n";
  return text;
}

int inspect(const InspectOptions& options) {
  const std::string path = resolve_model(options.engine.model);
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(path);
  std::unique_ptr<Engine> engine;
  try {
    engine = open_engine(options.engine);
  } catch (const Error& error) {
    // The table of a model that this version cannot run is worth seeing all the same.
    if (error.kind() == ErrorKind::kUnsupported && options.tensors && !options.json)
      write_stdout(tensors_text(*checkpoint));
    throw;
  }
  if (options.json) {
    Json report = report_json(*engine);
    if (options.tensors) report["tensors"] = tensors_json(*checkpoint);
    write_stdout(report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return kExitOk;
  }
  write_stdout(report_text(*engine));
  if (options.tensors) write_stdout("\n" + tensors_text(*checkpoint));
  return kExitOk;
}

}  // namespace

Action define_inspect(Arguments& args) {
  auto options = std::make_shared<InspectOptions>();
  add_model_flags(args, options->engine);
  args.flag("--tensors", options->tensors, "list every tensor");
  args.flag("--json", options->json, "print one JSON object");
  args.footer(R"(
examples:
  sluice inspect model.gguf
  sluice inspect model/ --ctx 8192 --json

pinned: always in memory. cached: room for experts that come and go. read/pass: bytes of weights that every
pass reads from disk; experts that miss the cache come on top. No weights are read for this.)");
  return [options] { return inspect(*options); };
}

}  // namespace sluice
