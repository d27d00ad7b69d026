#include "cli/bench_peer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/child_process.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxTokens = int64_t{1} << 24;

// A whole number that may be absent.
int64_t count(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return 0;
  if (!found->is_number_integer() || *found < 0 || *found > kMaxTokens)
    throw_error(ErrorKind::kInvalid, "its %s is no number of tokens or threads", key);
  return found->get<int64_t>();
}

std::vector<double> numbers(const Json& object, const char* key) {
  std::vector<double> values;
  const auto found = object.find(key);
  if (found == object.end()) return values;
  const Json list = found->is_array() ? *found : Json::array({*found});
  for (const Json& value : list) {
    if (!value.is_number() || !(value.get<double>() > 0))
      throw_error(ErrorKind::kInvalid, "its %s has something that is no positive number", key);
    values.push_back(value.get<double>());
  }
  return values;
}

std::vector<double> speeds(const Json& object, int64_t tokens) {
  std::vector<double> values = numbers(object, "samples_ts");
  if (values.empty()) {
    for (const double ns : numbers(object, "samples_ns"))
      values.push_back(static_cast<double>(tokens) / ns * 1e9);
  }
  if (values.empty()) values = numbers(object, "avg_ts");
  if (values.empty())
    throw_error(ErrorKind::kInvalid, "a test has neither samples_ts nor samples_ns nor avg_ts");
  return values;
}

// Where the array begins: at the start of the text or of a line.
std::string_view skip_to_array(std::string_view text) {
  if (text.substr(0, 1) == "[") return text;
  const size_t at = text.find("\n[");
  return at == std::string_view::npos ? text : text.substr(at + 1);
}

// The last words of a log, fit for one line.
std::string ending(const std::string& log) {
  constexpr size_t kBytes = 240;
  std::string text = log.substr(log.size() - std::min(log.size(), kBytes));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "nothing on standard error" : "standard error ends: " + printable(text, kBytes + 60);
}

}  // namespace

PeerRun parse_peer(std::string_view text) {
  const Json json = Json::parse(skip_to_array(text), nullptr, /*allow_exceptions=*/false);
  if (!json.is_array() || json.empty())
    throw_error(ErrorKind::kInvalid, "its output is not the array that `llama-bench -o json` prints");
  PeerRun run;
  for (const Json& object : json) {
    if (!object.is_object()) throw_error(ErrorKind::kInvalid, "its array holds something that is no object");
    const int64_t n_prompt = count(object, "n_prompt");
    const int64_t n_gen = count(object, "n_gen");
    if ((n_prompt == 0) == (n_gen == 0)) {
      run.left_out.push_back("prefill " + std::to_string(n_prompt) + " with decode " + std::to_string(n_gen));
      continue;
    }
    PeerTest test;
    test.test = {.prefill = n_prompt > 0, .tokens = n_prompt + n_gen, .depth = count(object, "n_depth")};
    test.n_threads = count(object, "n_threads");
    test.tok_s = speeds(object, test.test.tokens);
    run.tests.push_back(std::move(test));
  }
  return run;
}

PeerRun run_peer(const std::string& command) {
  const ChildOutcome outcome = run_shell(command);
  const auto refuse = [&](const std::string& why) {
    throw_error(ErrorKind::kInvalid, "--peer: %s; exit status %d, %s", why.c_str(), outcome.exit_code,
                ending(outcome.err).c_str());
  };
  if (outcome.exit_code != 0) refuse("the command failed");
  try {
    return parse_peer(outcome.out);
  } catch (const Error& error) {
    refuse(error.what());
  }
  return {};
}

Spread Comparison::ours() const {
  Spread spread;
  for (const PairedRound& round : rounds) spread.add(round.ours);
  return spread;
}

Spread Comparison::peer() const {
  Spread spread;
  for (const PairedRound& round : rounds) spread.add(round.peer);
  return spread;
}

Spread Comparison::ratio() const {
  Spread spread;
  for (const PairedRound& round : rounds) spread.add(round.ours / round.peer);
  return spread;
}

}  // namespace sluice
