#include "cli/verbs.h"

namespace sluice {
namespace {

constexpr Verb kVerbs[] = {
    {"run", "continue a prompt, or answer it by the model's chat template", define_run},
    {"chat", "talk with a model", define_chat},
    {"demo", "watch the expert cache at work on the demo model", define_demo},
    {"inspect", "what a model is and what a memory budget would give", define_inspect},
    {"plan", "how fast a model will run here, at any memory budget", define_plan},
    {"browse", "models that people run, and what this machine makes of them", define_browse},
    {"doctor", "measure this machine and say what is wrong with it", define_doctor},
    {"tokenize", "text to token ids", define_tokenize},
    {"detokenize", "token ids to text", define_detokenize},
    {"template", "render a chat template", define_template},
    {"logits", "write the logits of every position of a token sequence", define_logits},
    {"perplexity", "how well a model predicts a text", define_perplexity},
    {"bench", "speed, and how near it is to what this machine can do", define_bench},
    {"trace", "record which experts a model chooses", define_trace},
    {"simulate", "replay recorded routing under every cache policy and budget", define_simulate},
    {"profile", "what runs with --task have learned: list, show, merge, delete, learn", define_profile},
    {"compress", "turn a checkpoint into a smaller one", define_compress},
    {"forge", "write a synthetic checkpoint of any shape", define_forge},
    {"version", "version, instruction sets and input/output of this build", define_version},
};

}  // namespace

std::span<const Verb> all_verbs() { return kVerbs; }

}  // namespace sluice
