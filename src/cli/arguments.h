// What a verb's command line may hold, and the variables that it fills:
//
//   args.positional("PROMPT", options.prompt, "the text to continue");
//   args.option("-n,--max-tokens N", options.n_tokens, "new tokens at most").range(1, 4096).show_default();
//   args.flag("--json", options.json, "print one JSON object");
//
// The words after an option's names stand for its value in the help. CLI11 does the work, behind
// arguments.cc, which is the only file that pays for compiling it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sluice {

// A command line that makes no sense; what() is the line that says why.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// "; did you mean X?" for the nearest of `known`, if any is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

// One option, to say more of it. Valid as long as the Arguments that it came from.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  Option& show_default();                    // what the variable holds now
  Option& separated();                       // several values at once, with commas between them
  Option& range(int64_t low, int64_t high);  // both included
  Option& range(double low, double high);
  Option& range(int low, int high) { return range(int64_t{low}, int64_t{high}); }
  Option& one_of(std::vector<std::string> words);
  Option& size(std::string word);      // "2G", "50%", or `word`
  Option& needs(const Option& other);  // this one makes sense only with the other
  Option& excludes(const Option& other);

  bool given() const;  // once parsed

 private:
  CLI::Option* option_;
};

// A command line, or a part of one: what group(), exactly_one() and verb() return belongs to it. Variables
// must live until all is parsed.
class Arguments {
 public:
  // Where a value goes. An optional stays empty if the option is not given; a vector takes one value each
  // time that it is, a positional one all that come.
  using Target = std::variant<std::string*, int*, uint16_t*, int64_t*, uint64_t*, double*,
                              std::optional<float>*, std::optional<int32_t>*, std::optional<int64_t>*,
                              std::vector<std::string>*, std::vector<int32_t>*, std::vector<int64_t>*>;

  Arguments(const std::string& verb, const std::string& summary);

  template <typename T>
  Option option(const std::string& names, T& into, const std::string& what) {
    return add_option(names, Target(&into), what);
  }
  template <typename T>
  Option positional(const std::string& name, T& into, const std::string& what) {
    return add_positional(name, Target(&into), what);
  }
  Option flag(const std::string& names, bool& into, const std::string& what);

  // An option whose value is one of some words, each for a value of `into`.
  template <typename T>
  Option choice(const std::string& names, T& into, std::vector<std::pair<std::string, T>> choices,
                const std::string& what) {
    std::vector<std::string> words;
    for (const auto& choice : choices) words.push_back(choice.first);
    const auto choose = [&into, choices = std::move(choices)](size_t i) { into = choices[i].second; };
    return add_choice(names, std::move(words), choose, what);
  }

  // Options that the help shows below a heading of their own; of the second kind, exactly one must be given.
  Arguments group(const std::string& heading);
  Arguments exactly_one(const std::string& heading, const std::string& what);
  // A verb within this one; `chosen` is called once its arguments are parsed.
  Arguments verb(const std::string& name, const std::string& summary, std::function<void()> chosen);
  void footer(const std::string& text);  // the end of the help

  // False if help() was asked for instead. Throws UsageError.
  bool parse(int argc, char** argv);
  std::string help() const;  // of the verb within this one, if one was given

 private:
  Arguments(std::shared_ptr<CLI::App> app, std::string heading);
  Option add_option(const std::string& names, Target into, const std::string& what);
  Option add_positional(const std::string& name, Target into, const std::string& what);
  Option add_choice(const std::string& names, std::vector<std::string> words,
                    std::function<void(size_t)> choose, const std::string& what);

  std::shared_ptr<CLI::App> app_;  // of the whole command line, or of a verb or group within it
  std::string heading_;            // of the options to come; empty: the usual one
};

}  // namespace sluice
