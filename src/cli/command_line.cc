#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"

namespace sluice {
namespace {

constexpr const char* kHelp = R"(Sluice runs language models that are larger than the memory of the machine.

usage: sluice VERB [MODEL] [options]

verbs:
%s
MODEL is a Hugging Face directory, a GGUF file, a name in the Hugging Face cache, or "demo" (the default).

examples:
  sluice run demo "Once upon a time"
  sluice run model.gguf "Why is the sky blue?" --ram 2G
  sluice chat Qwen/Qwen3-8B --ram 50%%
  sluice inspect model.gguf
  sluice browse

`sluice VERB --help` explains a verb with its options and examples.
)";

std::string help_text() {
  std::string verbs;
  for (const Verb& verb : all_verbs()) verbs += format_string("  %-12s %s\n", verb.name, verb.summary);
  return format_string(kHelp, verbs.c_str());
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// "; did you mean X?" for the nearest of `known`, if any is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  size_t best_distance = word.size() / 3 + 1;
  for (const std::string& candidate : known) {
    const bool begins = word.size() > 2 && candidate.compare(0, word.size(), word) == 0;
    const size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance <= best_distance && (!best || distance < best_distance)) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best ? "; did you mean " + *best + "?" : "";
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

int usage_error(const std::string& message) {
  print_error(message);
  return kExitUsage;
}

int unknown_argument(const CLI::App& app, const std::string& verb) {
  if (!app.get_subcommands().empty()) {
    const CLI::App& inner = *app.get_subcommands().front();
    return unknown_argument(inner, verb + " " + inner.get_name());
  }
  const std::vector<std::string> rest = app.remaining();
  const std::string argument = rest.empty() ? std::string() : rest.front();
  if (argument.size() > 1 && argument[0] == '-') {
    const std::string name = argument.substr(0, argument.find('='));
    return usage_error(verb + " has no option " + printable(name) + suggestion(name, option_names(app)) +
                       " (sluice " + verb + " --help)");
  }
  std::vector<std::string> inner;
  for (const CLI::App* subcommand : app.get_subcommands({})) inner.push_back(subcommand->get_name());
  if (!inner.empty())
    return usage_error(verb + " has no verb " + printable(argument) + suggestion(argument, inner) +
                       " (sluice " + verb + " --help)");
  return usage_error(verb + " does not know what to do with " + printable(argument) +
                     "; quote a prompt that has spaces (sluice " + verb + " --help)");
}

int run_verb(const Verb& verb, int argc, char** argv) {
  CLI::App app(std::string("sluice ") + verb.name + ": " + verb.summary, std::string("sluice ") + verb.name);
  app.set_help_flag("-h,--help", "explain this verb and stop");
  app.get_formatter()->column_width(34);
  const Action action = verb.define(app);
  try {
    app.parse(argc, argv);
    return action();
  } catch (const CLI::CallForHelp&) {
    write_stdout(app.help());
    return kExitOk;
  } catch (const CLI::ExtrasError&) {
    return unknown_argument(app, verb.name);
  } catch (const CLI::ParseError& error) {
    return usage_error(std::string(verb.name) + ": " + printable(error.what(), 400));
  }
}

int dispatch(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name.empty()) {
    write_stdout(help_text());
    return kExitUsage;
  }
  if (name == "--help" || name == "-h" || (name == "help" && argc == 2)) {
    write_stdout(help_text());
    return kExitOk;
  }
  std::string verb_name(name == "--version" ? "version" : name);
  std::vector<char*> arguments(argv + 1, argv + argc);
  char help_flag[] = "--help";
  if (name == "help") {
    verb_name = argv[2];
    arguments = {argv[2], help_flag};
  }
  std::vector<std::string> names;
  for (const Verb& verb : all_verbs()) {
    if (verb_name == verb.name) return run_verb(verb, static_cast<int>(arguments.size()), arguments.data());
    names.emplace_back(verb.name);
  }
  return usage_error("there is no verb " + printable(verb_name) + suggestion(verb_name, names) +
                     " (sluice --help)");
}

}  // namespace

int run_command_line(int argc, char** argv) {
  ignore_broken_pipes();
  try {
    return dispatch(argc, argv);
  } catch (const OutputClosed&) {
    return kExitFailure;  // whoever read us has gone: nobody to tell
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled && interrupted()) return kExitInterrupted;
    print_error(error.what());
  } catch (const std::bad_alloc&) {
    print_error("out of memory; try a smaller --ram or --ctx");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return kExitFailure;
}

}  // namespace sluice
