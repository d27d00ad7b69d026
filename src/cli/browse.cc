// sluice browse: the catalogue against this machine, and from an entry to a running model.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/model_flags.h"
#include "cli/planning.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/memory_plan.h"
#include "hub/hf_cache.h"
#include "hub/model_path.h"
#include "plan/cost_model.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct BrowseOptions {
  std::string ram = "auto";
  std::string sort = "catalogue";
  bool all = false;
  bool json = false;
};

enum class Verdict : uint8_t { kFits, kStreams, kTooLarge, kUnsupported };

struct Line {
  const CatalogueEntry* entry = nullptr;
  const CatalogueFile* file = nullptr;
  std::string source;  // as resolve_model() takes it
  bool here = false;   // in the cache
  Verdict verdict = Verdict::kUnsupported;
  int64_t active_parameters = 0;  // 0: unknown
  MemoryOutlook outlook;
  Prediction prediction;
};

bool is_here(const std::string& source) {
  try {
    resolve_model(source);
    return true;
  } catch (const Error&) {
    return false;  // not there, or not the one file
  }
}

Line judge(const CatalogueEntry& entry, const HardwareProfile& machine, const std::string& ram) {
  Line line = {.entry = &entry, .file = &entry.files[0]};
  line.source = entry.source(line.file->type);
  line.here = is_here(line.source);
  if (!entry.is_supported()) return line;
  const PlannedModel model = open_outline({}, entry, line.file->type);
  const Engine& engine = *model.engine;
  line.active_parameters = engine.info().n_active_parameters;
  const uint64_t budget = parse_ram(ram, memory_info(), resident_bytes());
  line.outlook = engine.outlook(budget);
  line.verdict = !line.outlook.fits                       ? Verdict::kTooLarge
                 : budget >= line.outlook.comfortable_ram ? Verdict::kFits
                                                          : Verdict::kStreams;
  if (line.outlook.fits) line.prediction = predict(engine.info(), line.outlook, machine, {});
  return line;
}

std::string billions(int64_t n) {
  const double billion = static_cast<double>(n) * 1e-9;
  return billion < 1000 ? format_string("%.3gB", billion) : format_string("%.3gT", billion * 1e-3);
}

std::string verdict_text(const Line& line) {
  const double speed = line.prediction.decode_tok_s;
  const std::string rate = format_string(speed < 9.95 ? "%.1f tok/s" : "%.0f tok/s", speed);
  switch (line.verdict) {
    case Verdict::kFits:
      return "fits, " + rate;
    case Verdict::kStreams:
      return "streams, " + (speed < 0.5 ? format_seconds(1 / speed) + " a token" : rate);
    case Verdict::kTooLarge:
      return "needs --ram " + mebibytes(line.outlook.smallest_ram);
    case Verdict::kUnsupported:
      return "architecture not supported yet";
  }
  return "";
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFits:
      return "fits";
    case Verdict::kStreams:
      return "streams";
    case Verdict::kTooLarge:
      return "too large";
    case Verdict::kUnsupported:
      return "unsupported";
  }
  return "";
}

void sort_lines(std::vector<Line>& lines, const std::string& by) {
  if (by == "catalogue") return;
  std::stable_sort(lines.begin(), lines.end(), [&by](const Line& a, const Line& b) {
    if (by == "name") return a.entry->name < b.entry->name;
    if (by == "size") return a.file->bytes < b.file->bytes;
    return a.prediction.decode_tok_s > b.prediction.decode_tok_s;
  });
}

std::string table(const std::vector<Line>& lines) {
  std::vector<TableRow> rows = {
      {"   model", "parameters", "active", "file", "size", "context", "licence", "here"}};
  size_t n = 0;
  for (const Line& line : lines) {
    const CatalogueEntry& entry = *line.entry;
    rows.push_back({format_string("%2zu %s", ++n, entry.name.c_str()), billions(entry.parameters),
                    line.active_parameters > 0 ? billions(line.active_parameters) : "", line.file->type,
                    format_bytes(line.file->bytes),
                    std::to_string(entry.config.at("max_position_embeddings").get<int64_t>() / 1024) + "k",
                    entry.licence, (line.here ? "* " : "") + verdict_text(line)});
  }
  return aligned_table(rows);
}

Json lines_json(const std::vector<Line>& lines) {
  Json list = Json::array();
  for (const Line& line : lines) {
    const CatalogueEntry& e = *line.entry;
    const auto shape = [&e](const char* key) {
      return e.config.contains(key) ? e.config[key] : Json(nullptr);
    };
    Json files = Json::array();
    for (const CatalogueFile& file : e.files)
      files.push_back({{"type", file.type}, {"bytes", file.bytes}, {"source", e.source(file.type)}});
    const bool runs = line.outlook.fits;
    list.push_back(
        {{"name", e.name},
         {"repository", e.repository},
         {"gguf", e.gguf.empty() ? Json(nullptr) : Json(e.gguf)},
         {"licence", e.licence},
         {"architecture", e.architecture()},
         {"supported", line.verdict != Verdict::kUnsupported},
         {"parameters", e.parameters},
         {"active_parameters", line.active_parameters > 0 ? Json(line.active_parameters) : Json(nullptr)},
         {"context", shape("max_position_embeddings")},
         {"config", e.config},
         {"files", files},
         {"file", line.file->type},
         {"source", line.source},
         {"here", line.here},
         {"verdict", verdict_name(line.verdict)},
         {"decode_tok_s", runs ? Json(line.prediction.decode_tok_s) : Json(nullptr)},
         {"prefill_tok_s", runs ? Json(line.prediction.prefill_tok_s) : Json(nullptr)},
         {"first_token_s", runs ? Json(line.prediction.first_token_s) : Json(nullptr)},
         {"bound", runs ? Json(line.prediction.bound) : Json(nullptr)},
         {"minimum_ram_bytes",
          line.outlook.smallest_ram > 0 ? Json(line.outlook.smallest_ram) : Json(nullptr)}});
  }
  return list;
}

std::string lowered(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

// How to get a model that is not in the cache.
std::string how_to_fetch(const Line& line) {
  const std::string cache = HfCache::from_environment().directory();
  const size_t colon = line.source.rfind(':');
  const std::string repository = line.source.substr(0, colon);
  std::string text =
      format_string("%s (%s) is not in the cache %s. Fetch it:\n\n  hf download %s", line.entry->name.c_str(),
                    format_bytes(line.file->bytes).c_str(), cache.c_str(), repository.c_str());
  if (colon != std::string::npos) {
    const std::string type = line.source.substr(colon + 1);
    text += format_string(" --include '*%s*' '*%s*'", type.c_str(), lowered(type).c_str());
  }
  return text + "\n\nand then:\n\n  sluice chat " + line.source + "\n";
}

// Asks for a line of the table, and runs it or says how.
int pick(const std::vector<Line>& lines) {
  for (;;) {
    write_stdout("\nnumber of a model to run (Enter to leave): ");
    std::string answer;
    if (!std::getline(std::cin, answer) || answer.empty()) return kExitOk;
    size_t number = 0;
    const auto parsed = std::from_chars(answer.data(), answer.data() + answer.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != answer.data() + answer.size() || number < 1 ||
        number > lines.size()) {
      write_stdout(format_string("%s is none of 1 to %zu\n", printable(answer).c_str(), lines.size()));
      continue;
    }
    const Line& line = lines[number - 1];
    if (line.verdict == Verdict::kUnsupported) {
      write_stdout(
          format_string("the architecture %s is not supported yet\n", line.entry->architecture().c_str()));
    } else if (!line.here) {
      write_stdout(how_to_fetch(line));
      return kExitOk;
    } else {
      write_stdout("sluice chat " + line.source + "\n");
      std::string verb = "chat", name = "sluice", model = line.source;
      char* const arguments[] = {name.data(), verb.data(), model.data(), nullptr};
      ::execv("/proc/self/exe", arguments);
      throw_errno(errno, "cannot start", "sluice");
    }
  }
}

int browse(const BrowseOptions& options) {
  const HardwareProfile machine = hardware_for("");
  std::vector<Line> lines;
  {
    ProgressBar bar("judging", "models");
    for (const CatalogueEntry& entry : catalogue()) {
      Line line = judge(entry, machine, options.ram);
      const bool usable = line.verdict == Verdict::kFits || line.verdict == Verdict::kStreams;
      if (usable || options.all) lines.push_back(std::move(line));
      bar.update(static_cast<uint64_t>(&entry - catalogue().data()) + 1, catalogue().size());
    }
  }
  sort_lines(lines, options.sort);
  if (options.json) {
    write_stdout(lines_json(lines).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return kExitOk;
  }
  const uint64_t budget = parse_ram(options.ram, memory_info(), resident_bytes());
  write_stdout(format_string("with --ram %s here; %s\n\n", format_bytes(budget).c_str(),
                             measured_when(machine).c_str()));
  write_stdout(table(lines));
  write_stdout("\n* is in the cache already. `sluice plan MODEL` tells more.");
  if (lines.size() < catalogue().size())
    write_stdout(format_string(" %zu more with --all.", catalogue().size() - lines.size()));
  write_stdout("\n");
  return stdin_is_terminal() && stdout_is_terminal() ? pick(lines) : kExitOk;
}

}  // namespace

Action define_browse(Arguments& args) {
  auto options = std::make_shared<BrowseOptions>();
  args.option("--ram SIZE", options->ram, "the budget to judge by: 6G, 50%, auto")
      .size("auto")
      .show_default();
  args.option("--sort KEY", options->sort, "by: catalogue, name, size, speed")
      .one_of({"catalogue", "name", "size", "speed"})
      .show_default();
  args.flag("--all", options->all, "also what is too large or not supported yet");
  args.flag("--json", options->json, "print a JSON array");
  args.footer(R"(
examples:
  sluice browse
  sluice browse --ram 8G --sort speed
  sluice browse --all --json

Each model is judged in the file to begin with, by its shape and by what `sluice doctor` measured; nothing is
fetched. On a terminal a number picks a model: one that is in the Hugging Face cache is run, of another it is
told how to get it.)");
  return [options] { return browse(*options); };
}

}  // namespace sluice
