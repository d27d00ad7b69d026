// sluice profile: what runs with --task have learned of the experts that a kind of work uses.
#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/task_profiles.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct ProfileOptions {
  std::string task, other, into;
  std::string model;  // which profiles of that name
  bool json = false;
  EngineOptions engine;
  std::vector<std::string> files;
  int64_t limit = 16384;
  int (*act)(const ProfileOptions& options) = nullptr;  // what the chosen verb does
};

constexpr std::array<int, 3> kShares = {10, 25, 50};  // of the experts, in %
constexpr size_t kIdDigits = 8;                       // of a fingerprint, in tables
constexpr size_t kShownExperts = 8;                   // of a layer

std::string local_time(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  std::array<char, 32> text{};
  if (::localtime_r(&time, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &parts) == 0)
    return "?";
  return text.data();
}

// Those of `model`: a name or the beginning of an id, as the list shows them, or a model that is here.
std::vector<StoredProfile> of_model(std::vector<StoredProfile> all, const std::string& model) {
  if (model.empty()) return all;
  const auto is_named = [&model](const StoredProfile& stored) {
    return stored.profile.model == model ||
           (model.size() >= 4 && fingerprint_text(stored.fingerprint).starts_with(model));
  };
  if (std::none_of(all.begin(), all.end(), is_named)) {
    const uint64_t fingerprint = Engine::open({.model = model})->fingerprint();
    std::erase_if(all, [fingerprint](const StoredProfile& s) { return s.fingerprint != fingerprint; });
  } else {
    std::erase_if(all, [&](const StoredProfile& stored) { return !is_named(stored); });
  }
  return all;
}

std::string label(const StoredProfile& stored) {
  const std::string id = fingerprint_text(stored.fingerprint).substr(0, kIdDigits);
  return stored.damage.empty() ? printable(stored.profile.model) + " (" + id + ")"
                               : "a damaged one (" + id + ")";
}

// The one profile of that name, also if it cannot be read.
StoredProfile find_file(const std::string& task, const std::string& model) {
  check_task_name(task);
  std::vector<StoredProfile> all = list_task_profiles();
  std::string known;
  const std::string* last = nullptr;
  for (const StoredProfile& stored : all) {
    if (last == nullptr || *last != stored.task) known += (last == nullptr ? "" : ", ") + stored.task;
    last = &stored.task;
  }
  std::erase_if(all, [&task](const StoredProfile& stored) { return stored.task != task; });
  if (all.empty())
    throw_error(ErrorKind::kNotFound, "there is no profile of the task %s: %s", task.c_str(),
                known.empty() ? "none has been learned yet (sluice run MODEL --task NAME)"
                              : ("there are " + known).c_str());
  const std::vector<StoredProfile> chosen = of_model(all, model);
  if (chosen.size() == 1) return chosen[0];
  std::string models;
  for (const StoredProfile& stored : all) models += (models.empty() ? "" : ", ") + label(stored);
  throw_error(ErrorKind::kInvalid, "the task %s has profiles for %s: choose one with --model", task.c_str(),
              models.c_str());
}

StoredProfile find_profile(const std::string& task, const std::string& model) {
  StoredProfile stored = find_file(task, model);
  if (!stored.damage.empty()) throw_error(ErrorKind::kCorrupt, "%s", stored.damage.c_str());
  return stored;
}

Json summary_json(const StoredProfile& stored) {
  const TaskProfile& profile = stored.profile;
  Json json = {{"task", stored.task},
               {"model", printable(profile.model)},
               {"fingerprint", fingerprint_text(stored.fingerprint)},
               {"path", stored.path}};
  if (!stored.damage.empty()) {
    json["damage"] = stored.damage;
    return json;
  }
  json["architecture"] = printable(profile.architecture);
  json["layers"] = profile.groups.size();
  json["experts"] = profile.n_units;
  json["tokens"] = profile.n_tokens;
  json["weight_tokens"] = profile.weight;
  for (const int share : kShares) json["coverage"][std::to_string(share)] = profile.coverage(share / 100.0);
  json["used_at"] = profile.used_at;
  return json;
}

std::vector<std::string> coverage_cells(const TaskProfile& profile) {
  std::vector<std::string> cells;
  for (const int share : kShares)
    cells.push_back(format_string("%.0f %%", 100 * profile.coverage(share / 100.0)));
  return cells;
}

void print_json(const Json& json) {
  write_stdout(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int list(const ProfileOptions& options) {
  const std::vector<StoredProfile> all = of_model(list_task_profiles(), options.model);
  if (options.json) {
    Json json = Json::array();
    for (const StoredProfile& stored : all) json.push_back(summary_json(stored));
    print_json(json);
    return kExitOk;
  }
  std::vector<TableRow> rows = {
      {"task", "tokens", "10 % hold", "25 % hold", "50 % hold", "last used", "id", "model"}};
  for (const StoredProfile& stored : all) {
    const TaskProfile& profile = stored.profile;
    if (!stored.damage.empty()) {
      print_warning(stored.damage);
      continue;
    }
    TableRow row = {stored.task, std::to_string(profile.n_tokens)};
    for (std::string& cell : coverage_cells(profile)) row.push_back(std::move(cell));
    row.insert(row.end(),
               {local_time(profile.used_at), fingerprint_text(stored.fingerprint).substr(0, kIdDigits),
                printable(profile.model)});
    rows.push_back(std::move(row));
  }
  write_stdout(rows.size() > 1 ? aligned_table(rows)
                               : "no task profiles here yet: sluice run MODEL --task NAME learns one\n");
  return kExitOk;
}

int show(const ProfileOptions& options) {
  const StoredProfile stored = find_profile(options.task, options.model);
  const TaskProfile& profile = stored.profile;
  const std::vector<float> rates = profile.rates();
  const auto rates_of = [&](size_t group) {
    return std::span(rates).subspan(group * profile.n_units, profile.n_units);
  };
  if (options.json) {
    Json json = summary_json(stored);
    json["rates"] = Json::array();
    for (size_t g = 0; g < profile.groups.size(); ++g) {
      const auto of_group = rates_of(g);
      json["rates"].push_back({{"layer", profile.groups[g]},
                               {"of_tokens", std::vector<float>(of_group.begin(), of_group.end())}});
    }
    print_json(json);
    return kExitOk;
  }
  const std::vector<std::string> coverage = coverage_cells(profile);
  std::string text = format_string(
      "%s, for %s (%s, %s)\nlearned from %llu tokens, last %s\nthe hottest 10, 25 and 50 %% of %zu experts "
      "have "
      "%s, %s and %s of all uses\n\nlayer   hottest experts, and how many of 100 tokens chose them\n",
      stored.task.c_str(), printable(profile.model).c_str(), printable(profile.architecture).c_str(),
      fingerprint_text(stored.fingerprint).c_str(), static_cast<unsigned long long>(profile.n_tokens),
      local_time(profile.used_at).c_str(), profile.n_all(), coverage[0].c_str(), coverage[1].c_str(),
      coverage[2].c_str());
  for (size_t g = 0; g < profile.groups.size(); ++g) {
    text += format_string("%5u ", profile.groups[g]);
    const auto of_group = rates_of(g);
    for (const UnitId expert : hottest_units(of_group, kShownExperts))
      text += format_string("  %3u: %-3.0f", expert, 100 * static_cast<double>(of_group[expert]));
    text += "\n";
  }
  write_stdout(text);
  return kExitOk;
}

int merge(const ProfileOptions& options) {
  check_task_name(options.into);
  const StoredProfile a = find_profile(options.task, options.model);
  const StoredProfile b = find_profile(options.other, options.model);
  if (options.task == options.other)
    throw_error(ErrorKind::kInvalid, "%s with itself is %s: name two tasks", options.task.c_str(),
                options.task.c_str());
  if (!a.profile.is_of_one_model_with(b.profile))
    throw_error(
        ErrorKind::kInvalid,
        "%s is of %s and %s of %s: experts of different models have nothing in common, choose one model "
        "with --model",
        a.task.c_str(), label(a).c_str(), b.task.c_str(), label(b).c_str());
  const std::string path = task_profile_path(options.into, a.fingerprint);
  if (options.into != a.task && options.into != b.task && std::filesystem::exists(path))
    throw_error(ErrorKind::kInvalid, "%s has a profile already: delete it first, or choose another name",
                options.into.c_str());
  TaskProfile merged = a.profile;
  merged.merge(b.profile);
  save_task_profile(options.into, merged);
  write_stdout(format_string("%s: %llu tokens of %s and %s\n", options.into.c_str(),
                             static_cast<unsigned long long>(merged.n_tokens), a.task.c_str(),
                             b.task.c_str()));
  return kExitOk;
}

int remove(const ProfileOptions& options) {
  const StoredProfile stored = find_file(options.task, options.model);
  std::error_code error;
  std::filesystem::remove(stored.path, error);
  if (error) throw_errno(error.value(), "cannot remove", stored.path);
  write_stdout(format_string("%s for %s is gone\n", stored.task.c_str(), label(stored).c_str()));
  return kExitOk;
}

int learn(const ProfileOptions& options) {
  catch_interrupts();
  check_task_name(options.task);
  EngineOptions engine_options = options.engine;
  engine_options.task = options.task;
  const std::unique_ptr<Engine> engine = open_engine(engine_options);
  const auto room = static_cast<size_t>(engine->n_ctx());
  std::vector<std::vector<int32_t>> texts;
  size_t n_all = 0;
  for (const std::string& file : options.files) {
    texts.push_back(engine->tokenize(read_text(file)));
    texts.back().resize(std::min(texts.back().size(), static_cast<size_t>(options.limit)));
    n_all += texts.back().size();
  }
  load_engine(*engine, engine->n_ctx());
  const std::unique_ptr<Session> session = engine->new_session();
  Session* const sessions[] = {session.get()};
  ProgressBar bar("learning", "tokens");
  size_t n_done = 0;
  for (const std::vector<int32_t>& text : texts) {
    for (size_t at = 0; at < text.size(); at += room) {
      const auto context = std::span(text).subspan(at, std::min(room, text.size() - at));
      session->truncate(0);
      session->append(context, {.max_tokens = 0});
      while (session->n_cached() < static_cast<int64_t>(context.size()) && engine->step(sessions) > 0) {
        if (interrupted()) return kExitInterrupted;
        bar.update(n_done + static_cast<size_t>(session->n_cached()), n_all);
      }
      n_done += context.size();
    }
  }
  const uint64_t n_new = engine->learn_task();
  if (n_new == 0)
    throw_error(ErrorKind::kInvalid, "nothing was learned: the text is empty, or --lossy is on");
  const StoredProfile stored = find_profile(options.task, fingerprint_text(engine->fingerprint()));
  const std::vector<std::string> coverage = coverage_cells(stored.profile);
  write_stdout(format_string(
      "%s: learned from %llu tokens, knows %llu; the hottest 10, 25 and 50 %% of the experts of %s have %s, "
      "%s "
      "and %s of all uses\n",
      stored.task.c_str(), static_cast<unsigned long long>(n_new),
      static_cast<unsigned long long>(stored.profile.n_tokens), printable(stored.profile.model).c_str(),
      coverage[0].c_str(), coverage[1].c_str(), coverage[2].c_str()));
  return kExitOk;
}

}  // namespace

Action define_profile(Arguments& args) {
  auto options = std::make_shared<ProfileOptions>();
  const auto add = [&](const char* name, const char* what, int (*act)(const ProfileOptions&)) {
    return args.verb(name, what, [options, act] { options->act = act; });
  };
  const auto add_model = [&](Arguments& verb) {
    verb.option("--model MODEL", options->model,
                "the profile for this model, by name or id as listed, or path");
  };
  const auto add_json = [&](Arguments& verb) { verb.flag("--json", options->json, "print JSON"); };
  Arguments verb = add("list", "tasks, what they were learned from and how few experts they need", list);
  verb.positional("MODEL", options->model, "only profiles for this model: a name or id as listed, or a path");
  add_json(verb);

  verb = add("show", "one profile, with the hottest experts of each layer", show);
  verb.positional("NAME", options->task, "the task").required();
  add_model(verb);
  add_json(verb);

  verb = add("merge", "two profiles of one model into one, each weighing by its tokens", merge);
  verb.positional("A", options->task, "a task").required();
  verb.positional("B", options->other, "another").required();
  verb.option("--into NAME", options->into, "the task to save; A or B to replace it").required();
  add_model(verb);

  verb = add("delete", "forget a profile", remove);
  verb.positional("NAME", options->task, "the task").required();
  add_model(verb);

  verb = add("learn", "teach a profile with texts instead of waiting for use", learn);
  verb.positional("NAME", options->task, "the task").required();
  add_model_flags(verb, options->engine);
  verb.option("--text FILE", options->files, "text like that work; - for standard input; repeatable")
      .required();
  verb.option("--limit N", options->limit, "tokens of each --text at most")
      .range(int64_t{1}, int64_t{1} << 32)
      .show_default();

  args.footer(R"(
examples:
  sluice run model.gguf "Sort a list in C." --task coding --ram 4G     begins and learns a profile
  sluice profile list
  sluice profile learn coding model.gguf --text main.c --text util.c
  sluice profile merge coding reviews --into work
  sluice profile delete coding --model model.gguf

A profile says how often each expert of a model was chosen in one kind of work. A run with --task NAME begins with
the most used ones in memory and adds its own routing when it ends; what is older counts less, half as much after
32768 tokens. "25 % hold": the share of all uses that fell on the hottest 25 % of the experts. Profiles lie in the
user's state directory; each is for one model's weights, wherever its files are.)");
  return [options] {
    if (!options->act) throw UsageError("profile: list, show, merge, delete or learn is required");
    return options->act(*options);
  };
}

}  // namespace sluice
