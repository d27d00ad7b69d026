// sluice chat: a conversation. What was said stays in the session, so that only new text is read.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/environment.h"
#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/model_flags.h"
#include "cli/monitor.h"
#include "cli/report.h"
#include "cli/status_line.h"
#include "cli/verbs.h"
#include "format/json.h"
#include "platform/clock.h"
#include "platform/file.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

struct ChatOptions {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string first;  // an opening message
  std::string system;
  bool stats = false;
  bool monitor = false;
};

constexpr const char* kCommands = R"(  /help, /?            this
  /set                 show what can be set; /set NAME VALUE sets it
  /stats               numbers of the last answer and of the engine
  /save NAME           keep the conversation (a name, or a path with a slash)
  /load NAME           go on with a kept one
  /clear               forget the conversation
  /bye                 leave (also Ctrl-D)
  """                  begins and ends a message of several lines; a paste may have several as well
  Ctrl-C               stops the answer (a second one before it has stopped leaves), or empties the line
)";

constexpr std::string_view kQuotes = "\"\"\"";

constexpr const char* kExamples = R"(
examples:
  sluice chat demo
  sluice chat model.gguf --ram 4G --system "You answer in one sentence."
  printf 'Hello\n/stats\n' | sluice chat model.gguf

Type /help inside. Without a terminal each line of standard input is a message.)";

fs::path conversation_path(const std::string& name) {
  if (name.empty()) throw_error(ErrorKind::kInvalid, "give the conversation a name");
  if (name.find('/') != std::string::npos) return name;
  const fs::path directory = state_directory();
  if (directory.empty())
    throw_error(ErrorKind::kInvalid, "no home directory to keep it in; give a path with a slash");
  return directory / "chats" / (name + ".json");
}

// The first word, and what comes after it without the space around.
std::pair<std::string, std::string> split_word(const std::string& text) {
  constexpr const char* kSpace = " \t\n";
  const size_t end = std::min(text.find_first_of(kSpace), text.size());
  const size_t rest = std::min(text.find_first_not_of(kSpace, end), text.size());
  const size_t last = text.find_last_not_of(kSpace);
  return {text.substr(0, end), rest == text.size() ? "" : text.substr(rest, last + 1 - rest)};
}

class Chat {
 public:
  Chat(Engine& engine, const ChatOptions& options)
      : engine_(engine),
        terminal_(stdin_is_terminal() && stdout_is_terminal()),
        stats_(options.stats),
        monitor_(options.monitor),
        sampling_(options.sampling),
        system_(options.system),
        session_(engine.new_session()),
        editor_(state_directory().empty() ? std::string() : state_directory() + "/history") {}

  int run(const std::string& first);

 private:
  enum class Input { kLine, kNothing, kEnd };

  Input read_line(std::string_view prompt, std::string& line);
  Input read_message(std::string& message);
  bool handle(const std::string& message);  // false: leave
  bool command(const std::string& line);
  void set(const std::string& arguments);
  void show_settings() const;
  void show_stats() const;
  void save(const std::string& name) const;
  void load(const std::string& name);
  void clear();
  void answer(const std::string& message);
  std::string answer_as_it_comes();
  std::string answer_in_monitor();
  std::vector<ChatMessage> with_system() const;
  std::string status(const EngineStats& before, const EngineStats& now, double seconds) const;

  Engine& engine_;
  const bool terminal_;
  const bool stats_, monitor_;
  SamplingFlags sampling_;
  std::string system_;
  std::vector<ChatMessage> messages_;
  std::unique_ptr<Session> session_;
  LineEditor editor_;
};

Chat::Input Chat::read_line(std::string_view prompt, std::string& line) {
  if (!terminal_) {
    if (interrupted() || !std::getline(std::cin, line)) return Input::kEnd;
    return Input::kLine;
  }
  switch (editor_.read(prompt, "... ", line)) {
    case LineEditor::Result::kLine:
      return Input::kLine;
    case LineEditor::Result::kInterrupted:
      return Input::kNothing;
    case LineEditor::Result::kEnd:
      return Input::kEnd;
  }
  return Input::kEnd;
}

// A line, or several between """ and """.
Chat::Input Chat::read_message(std::string& message) {
  const Input input = read_line(">>> ", message);
  if (input != Input::kLine || message.compare(0, kQuotes.size(), kQuotes) != 0) return input;
  message.erase(0, kQuotes.size());
  for (;;) {
    const bool ends = message.size() >= kQuotes.size() &&
                      message.compare(message.size() - kQuotes.size(), kQuotes.size(), kQuotes) == 0;
    if (ends) {
      message.resize(message.size() - kQuotes.size());
      return Input::kLine;
    }
    std::string more;
    const Input next = read_line("... ", more);
    if (next == Input::kEnd && !terminal_ && !interrupted())
      throw_error(ErrorKind::kInvalid,
                  "standard input ended inside a message: it began with %s and wants them at its end",
                  kQuotes.data());
    if (next != Input::kLine) return next;
    message += (message.empty() ? "" : "\n") + more;
  }
}

int Chat::run(const std::string& first) {
  if (terminal_) {
    const ModelInfo& info = engine_.info();
    write_stdout(format_string("%s, %s, context %lld. /help explains, Ctrl-D leaves.\n",
                               printable(fs::path(info.path).filename().string()).c_str(),
                               info.architecture.c_str(), static_cast<long long>(engine_.n_ctx())));
  }
  if (!first.empty() && !handle(first)) return kExitOk;
  for (;;) {
    // Ctrl-C stops one answer and not the next as well, but the next from the moment on that it is asked for.
    if (terminal_) rearm_interrupts();
    std::string message;
    const Input input = read_message(message);
    if (input == Input::kEnd) return terminal_ || !interrupted() ? kExitOk : kExitInterrupted;
    if (input == Input::kNothing || message.find_first_not_of(" \t\n") == std::string::npos) continue;
    if (terminal_) editor_.remember(message);
    if (!handle(message)) return kExitOk;
    if (!terminal_ && interrupted()) return kExitInterrupted;
  }
}

// What goes wrong with one message ends the message, not the conversation.
bool Chat::handle(const std::string& message) {
  const size_t n_messages = messages_.size();
  try {
    if (message[0] == '/') return command(message);
    answer(message);
  } catch (const Error& error) {
    if (messages_.size() > n_messages) messages_.resize(n_messages);
    if (error.kind() != ErrorKind::kCancelled) print_error(error.what());
  }
  return true;
}

bool Chat::command(const std::string& line) {
  const std::pair<std::string, std::string> words = split_word(line);
  const auto& name = words.first;
  const auto& rest = words.second;
  if (name == "/bye" || name == "/exit" || name == "/quit") return false;
  if (name == "/help" || name == "/?") {
    write_stdout(kCommands);
  } else if (name == "/set") {
    set(rest);
  } else if (name == "/stats") {
    show_stats();
  } else if (name == "/save") {
    save(rest);
  } else if (name == "/load") {
    load(rest);
  } else if (name == "/clear") {
    clear();
  } else {
    throw_error(ErrorKind::kInvalid, "there is no command %s; /help lists them", printable(name).c_str());
  }
  return true;
}

// The names that /set knows, which are those of the options.
void Chat::set(const std::string& arguments) {
  if (arguments.empty()) return show_settings();
  const std::pair<std::string, std::string> words = split_word(arguments);
  const auto& name = words.first;
  const auto& value = words.second;
  const auto parse = [&](auto& into) {
    std::decay_t<decltype(into)> number{};
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    if (value.empty() || parsed.ec != std::errc() || parsed.ptr != value.data() + value.size())
      throw_error(ErrorKind::kInvalid, "/set %s wants a number, not '%s'", printable(name).c_str(),
                  printable(value).c_str());
    into = number;
  };
  const auto parse_optional = [&](auto& into) { parse(into.emplace()); };
  SamplingFlags changed = sampling_;
  const auto assign = [&] {
    if (name == "temp" || name == "temperature") return parse_optional(changed.temperature);
    if (name == "top-k") return parse_optional(changed.top_k);
    if (name == "top-p") return parse_optional(changed.top_p);
    if (name == "min-p") return parse_optional(changed.min_p);
    if (name == "typical-p") return parse_optional(changed.typical_p);
    if (name == "repeat-penalty") return parse_optional(changed.repetition_penalty);
    if (name == "presence-penalty") return parse_optional(changed.presence_penalty);
    if (name == "frequency-penalty") return parse_optional(changed.frequency_penalty);
    if (name == "penalty-window") return parse_optional(changed.penalty_window);
    if (name == "n" || name == "max-tokens") return parse(changed.max_tokens);
    if (name == "seed") {
      changed.seed = value;
      return;
    }
    throw_error(ErrorKind::kInvalid, "nothing called %s can be set; /set shows what can",
                printable(name).c_str());
  };
  if (name == "system") {
    system_ = value;
  } else {
    assign();
    engine_.check(generate_options(changed, engine_.default_sampler()));
    sampling_ = changed;
  }
}

void Chat::show_settings() const {
  const GenerateOptions now = generate_options(sampling_, engine_.default_sampler());
  const SamplerOptions& s = now.sampler;
  write_stdout(format_string(
      "  temp %g\n  top-k %d\n  top-p %g\n  min-p %g\n  typical-p %g\n  repeat-penalty %g\n"
      "  presence-penalty %g\n  frequency-penalty %g\n  penalty-window %d\n  n %lld\n  seed %s\n  system "
      "%s\n",
      static_cast<double>(s.temperature), s.top_k, static_cast<double>(s.top_p), static_cast<double>(s.min_p),
      static_cast<double>(s.typical_p), static_cast<double>(s.repetition_penalty),
      static_cast<double>(s.presence_penalty), static_cast<double>(s.frequency_penalty), s.penalty_window,
      static_cast<long long>(now.max_tokens), sampling_.seed.c_str(),
      system_.empty() ? "(none)" : printable(system_, 400).c_str()));
}

void Chat::show_stats() const {
  const EngineStats stats = engine_.stats();
  write_stdout(stats_line(*session_, stats) + "\n");
  write_stdout(format_string(
      "conversation: %lld of %lld tokens · %s of KV cache · weights: %s pinned, %s cached · %s, %d threads, "
      "%s\n",
      static_cast<long long>(session_->n_tokens()), static_cast<long long>(engine_.n_ctx()),
      format_bytes(stats.kv_bytes).c_str(), format_bytes(stats.pinned_bytes).c_str(),
      format_bytes(stats.cache_bytes).c_str(), stats.kernels.c_str(), stats.n_threads, stats.io.c_str()));
}

void Chat::save(const std::string& name) const {
  const fs::path path = conversation_path(name);
  if (name.find('/') == std::string::npos) {  // our own directory, and nobody else's to read
    std::error_code error;
    if (fs::create_directories(path.parent_path(), error))
      fs::permissions(path.parent_path(), fs::perms::owner_all, error);
    if (error) throw_errno(error.value(), "cannot create", path.parent_path().string());
  }
  nlohmann::ordered_json json = {{"system", system_}, {"messages", nlohmann::ordered_json::array()}};
  for (const ChatMessage& message : messages_)
    json["messages"].push_back({{"role", message.role}, {"content", message.content}});
  const std::string text = json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  FileWriter file(path.string());
  file.write(std::as_bytes(std::span(text)));
  file.commit();
  if (terminal_) write_stdout("kept in " + path.string() + "\n");
}

void Chat::load(const std::string& name) {
  constexpr const char* kRemedy = "load one that /save wrote";
  const fs::path path = conversation_path(name);
  const nlohmann::ordered_json json = read_json_file(path.string(), {}, kRemedy);
  const auto refuse = [&path] {
    throw_error(ErrorKind::kCorrupt, "%s: not a conversation; %s", path.c_str(), kRemedy);
  };
  std::vector<ChatMessage> messages;
  if (!json.is_object() || !json.contains("messages") || !json["messages"].is_array()) refuse();
  for (const auto& message : json["messages"]) {
    if (!message.is_object() || !message.contains("role") || !message.contains("content") ||
        !message["role"].is_string() || !message["content"].is_string())
      refuse();
    messages.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
  }
  messages_ = std::move(messages);
  if (json.contains("system") && json["system"].is_string()) system_ = json["system"].get<std::string>();
  for (const ChatMessage& message : messages_)
    write_stdout((message.role == "user" ? ">>> " : "") + message.content + "\n");
}

void Chat::clear() {
  messages_.clear();
  session_->truncate(0);
  if (terminal_) write_stdout("forgotten\n");
}

std::vector<ChatMessage> Chat::with_system() const {
  std::vector<ChatMessage> messages;
  if (!system_.empty()) messages.push_back({"system", system_});
  messages.insert(messages.end(), messages_.begin(), messages_.end());
  return messages;
}

// Of the time since `before` was taken.
std::string Chat::status(const EngineStats& before, const EngineStats& now, double seconds) const {
  std::string line;
  const uint64_t n_new = now.decode_tokens - before.decode_tokens;
  if (n_new == 0 && session_->generated().empty()) {
    line = format_string("reading %lld of %lld tokens", static_cast<long long>(session_->n_cached()),
                         static_cast<long long>(session_->n_tokens()));
  } else if (n_new == 0) {  // only the one that reading gave
    line = "first token";
  } else {
    line = format_string("%.1f tok/s", per_second(n_new, now.decode_seconds - before.decode_seconds));
  }
  const uint64_t hits = now.hits - before.hits;
  const uint64_t misses = now.misses - before.misses;
  if (hits + misses > 0)
    line += format_string(" · %.0f %% hits",
                          100.0 * static_cast<double>(hits) / static_cast<double>(hits + misses));
  // Buffered reads may come from the page cache: that is not the SSD's speed.
  const bool direct = now.io.find(", O_DIRECT,") != std::string::npos;
  line += format_string(" · %s %.2f GB/s", direct ? "SSD" : "read",
                        per_second(now.bytes_read - before.bytes_read, seconds) * 1e-9);
  const double worked =
      now.prefill_seconds + now.decode_seconds - before.prefill_seconds - before.decode_seconds;
  if (worked > 0)
    line += format_string(" · %.0f %% stalls",
                          100 * std::min(1.0, (now.stall_seconds - before.stall_seconds) / worked));
  line += " · " + format_bytes(now.resident_bytes) + " resident";
  line += format_string(" · %lld/%lld tokens", static_cast<long long>(session_->n_tokens()),
                        static_cast<long long>(engine_.n_ctx()));
  return line;
}

void Chat::answer(const std::string& message) {
  messages_.push_back({"user", message});
  const std::vector<int32_t> ids = engine_.chat_tokens(with_system());
  const GenerateOptions generate = generate_options(sampling_, engine_.default_sampler());
  if (static_cast<int64_t>(ids.size()) >= engine_.n_ctx())
    throw_error(
        ErrorKind::kInvalid,
        "the conversation would have %zu tokens, the context %lld: /clear forgets it, or start with a "
        "larger --ctx",
        ids.size(), static_cast<long long>(engine_.n_ctx()));
  // Keep what the session knows already; at least the last token is read, for its logits.
  const std::span<const int32_t> known = session_->tokens();
  const auto same = std::mismatch(known.begin(), known.end(), ids.begin(), ids.end() - 1).first;
  const int64_t n_same = std::min<int64_t>(same - known.begin(), session_->n_cached());
  session_->truncate(n_same);
  session_->append(std::span(ids).subspan(static_cast<size_t>(n_same)), generate);

  std::string text = monitor_ ? answer_in_monitor() : answer_as_it_comes();
  if (interrupted()) session_->cancel();
  write_stdout("\n");
  if (stats_) write_stderr(stats_line(*session_, engine_.stats()) + "\n");
  messages_.push_back({"assistant", std::move(text)});
}

// Prints the answer as it comes.
std::string Chat::answer_as_it_comes() {
  std::string text;
  std::optional<QuietInput> quiet;
  if (terminal_) quiet.emplace();
  StatusLine status_line;
  // The line tells of the last one to two of these spans.
  constexpr double kSpan = 1.5;
  struct Moment {
    EngineStats stats;
    double time;
  };
  Moment older = {engine_.stats(), monotonic_seconds()}, newer = older;
  Session* const sessions[] = {session_.get()};
  while (session_->finished() == FinishReason::kNone && !interrupted()) {
    engine_.step(sessions);
    const std::string piece = session_->take_text();
    text += piece;
    write_stdout(piece);
    if (!status_line.due()) continue;
    const Moment now = {engine_.stats(), monotonic_seconds()};
    status_line.show(status(older.stats, now.stats, now.time - older.time));
    if (now.time - newer.time >= kSpan) older = std::exchange(newer, now);
  }
  return text;
}

// Prints the answer when it is there.
std::string Chat::answer_in_monitor() {
  std::string text;
  try {
    Monitor monitor(engine_);
    Session* const sessions[] = {session_.get()};
    while (session_->finished() == FinishReason::kNone && !interrupted()) {
      engine_.step(sessions);
      const std::string piece = session_->take_text();
      text += piece;
      monitor.update(*session_, piece);
    }
  } catch (...) {
    write_stdout(text + "\n");
    throw;
  }
  write_stdout(text);
  return text;
}

int chat(const ChatOptions& options) {
  catch_interrupts();
  if (options.monitor) Monitor::check_terminal();
  EngineOptions engine_options = options.engine;
  engine_options.monitor = options.monitor;
  const std::unique_ptr<Engine> engine = open_engine(engine_options);
  if (!engine->has_tokenizer())
    throw_error(ErrorKind::kUnsupported, "%s brings no tokenizer, so it cannot chat: sluice run --ids",
                printable(engine->info().path).c_str());
  load_engine(*engine, engine->n_ctx());
  const int code = Chat(*engine, options).run(options.first);
  save_task(*engine);
  return code;
}

}  // namespace

Action define_chat(Arguments& args) {
  auto options = std::make_shared<ChatOptions>();
  add_model_flags(args, options->engine);
  add_task_flag(args, options->engine);
  args.positional("PROMPT", options->first, "a first message");
  args.option("--system TEXT", options->system, "a system message for the chat template");
  args.flag(
      "--stats", options->stats,
      "the line of statistics after every answer, also where it is not a terminal; on a terminal one is "
      "live while an answer comes, in any case");
  args.flag("--monitor", options->monitor,
            "while an answer comes, watch it at work, full screen: experts in memory, hits, reads, waits");
  add_sampling_flags(args, options->sampling);
  args.footer(kExamples);
  return [options] { return chat(*options); };
}

}  // namespace sluice
