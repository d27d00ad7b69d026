// The options that several verbs share: which model, how much memory, how to sample.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/engine.h"
#include "sluice/options.h"

namespace sluice {

class Arguments;

inline constexpr const char* kMemoryAndMachine = "Memory and machine";  // a heading in the help

// [MODEL] and everything that decides where a model's bytes lie and how they are read, from --ram to --isa.
// `options` must live until parsing is done.
void add_model_flags(Arguments& args, EngineOptions& options);

// [MODEL] alone, for verbs that load no weights.
void add_model_argument(Arguments& args, std::string& model);

// What was given; the rest is the model's recommendation.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int32_t> top_k, penalty_window;
  std::vector<std::string> logit_bias;  // "ID:BIAS" or "ID=BIAS"
  std::string seed = "0";               // or "random"
  std::vector<std::string> stop;
  bool ignore_eos = false;
  int64_t max_tokens = -1;
};

// -n, --temp, --top-k, ..., --seed, --stop, --logit-bias, --ignore-eos.
void add_sampling_flags(Arguments& args, SamplingFlags& flags);

// Error(kInvalid) for a malformed --logit-bias or --seed.
GenerateOptions generate_options(const SamplingFlags& flags, const SamplerOptions& recommended);

// --timeline FILE, and what it asks of the engine. Error(kIo) if the file cannot be written: now rather than
// after the work.
void add_timeline_flag(Arguments& args, std::string& file);
void ask_for_timeline(const std::string& file, EngineOptions& options);

// Opens the engine and prints its warnings as notes.
std::unique_ptr<Engine> open_engine(const EngineOptions& options);

// --task, for verbs that learn from what they do; save_task() is then called when all is done.
void add_task_flag(Arguments& args, EngineOptions& options);

// Teaches the profile of --task, if there is one. What goes wrong is a note: the work itself is done.
void save_task(Engine& engine);

// Loads with a progress bar; Ctrl-C cancels. Prints the warnings that loading adds.
void load_engine(Engine& engine, int64_t reserve_tokens);

// Token ids from a JSON file ("-": standard input): an array, or an object with one under "ids".
std::vector<int32_t> read_ids(const std::string& path);

// A text file, or standard input for "-".
std::string read_text(const std::string& path);

}  // namespace sluice
