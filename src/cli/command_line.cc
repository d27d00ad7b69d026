#include "cli/command_line.h"

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/arguments.h"
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

int run_verb(const Verb& verb, int argc, char** argv) {
  Arguments args(verb.name, verb.summary);
  const Action action = verb.define(args);
  if (args.parse(argc, argv)) return action();
  write_stdout(args.help());
  return kExitOk;
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
  throw UsageError("there is no verb " + printable(verb_name) + suggestion(verb_name, names) +
                   " (sluice --help)");
}

}  // namespace

int run_command_line(int argc, char** argv) {
  ignore_broken_pipes();
  try {
    return dispatch(argc, argv);
  } catch (const OutputClosed&) {
    return kExitFailure;  // whoever read us has gone: nobody to tell
  } catch (const UsageError& error) {
    print_error(error.what());
    return kExitUsage;
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
