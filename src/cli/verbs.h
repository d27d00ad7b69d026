// The verbs of the command line. One file each; to add one, write define_<name>() in <name>.cc, declare it
// here and put a line into the table in verbs.cc.
#pragma once

#include <functional>
#include <span>

namespace sluice {

class Arguments;

// What a verb does once its options are parsed; returns the exit code. May throw Error.
using Action = std::function<int()>;

struct Verb {
  const char* name;
  const char* summary;                // one line, for `sluice --help`
  Action (*define)(Arguments& args);  // declares options, help and examples
};

std::span<const Verb> all_verbs();

Action define_run(Arguments& args);
Action define_chat(Arguments& args);
Action define_demo(Arguments& args);
Action define_inspect(Arguments& args);
Action define_tokenize(Arguments& args);
Action define_detokenize(Arguments& args);
Action define_template(Arguments& args);
Action define_logits(Arguments& args);
Action define_perplexity(Arguments& args);
Action define_bench(Arguments& args);
Action define_trace(Arguments& args);
Action define_simulate(Arguments& args);
Action define_profile(Arguments& args);
Action define_compress(Arguments& args);
Action define_forge(Arguments& args);
Action define_plan(Arguments& args);
Action define_browse(Arguments& args);
Action define_doctor(Arguments& args);
Action define_version(Arguments& args);

}  // namespace sluice
