// The verbs of the command line. One file each; to add one, write define_<name>() in <name>.cc, declare it
// here and put a line into the table in verbs.cc.
#pragma once

#include <functional>
#include <span>

namespace CLI {
class App;
}

namespace sluice {

// What a verb does once its options are parsed; returns the exit code. May throw Error.
using Action = std::function<int()>;

struct Verb {
  const char* name;
  const char* summary;              // one line, for `sluice --help`
  Action (*define)(CLI::App& app);  // declares options, help and examples
};

std::span<const Verb> all_verbs();

Action define_run(CLI::App& app);
Action define_chat(CLI::App& app);
Action define_demo(CLI::App& app);
Action define_inspect(CLI::App& app);
Action define_tokenize(CLI::App& app);
Action define_detokenize(CLI::App& app);
Action define_template(CLI::App& app);
Action define_logits(CLI::App& app);
Action define_perplexity(CLI::App& app);
Action define_bench(CLI::App& app);
Action define_trace(CLI::App& app);
Action define_simulate(CLI::App& app);
Action define_profile(CLI::App& app);
Action define_compress(CLI::App& app);
Action define_forge(CLI::App& app);
Action define_plan(CLI::App& app);
Action define_browse(CLI::App& app);
Action define_doctor(CLI::App& app);
Action define_version(CLI::App& app);

}  // namespace sluice
