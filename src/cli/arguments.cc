#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/units.h"

namespace sluice {
namespace {

constexpr size_t kHelpColumn = 34;

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

// "--ram SIZE" is the names and, if the help shall show one, the word for the value.
std::pair<std::string, std::string> names_and_value(const std::string& text) {
  const size_t space = text.find(' ');
  if (space == std::string::npos) return {text, ""};
  return {text.substr(0, space), text.substr(space + 1)};
}

CLI::Option* add(CLI::App& app, const std::string& names, const Arguments::Target& into,
                 const std::string& what) {
  const auto [name, value] = names_and_value(names);
  CLI::Option* const option = std::visit(
      [&app, &name = name, &what](auto* target) { return app.add_option(name, *target, what); }, into);
  if (!value.empty()) option->type_name(value);
  return option;
}

// Validators describe themselves in the help unless they are told not to: our texts do.
template <typename Validator>
void check(CLI::Option& option, Validator validator) {
  option.check(validator.description(""));
}

// Empty if `text` is a size, a percentage or `word`, else what is wrong with it.
std::string check_size(const std::string& text, const std::string& word) {
  if (text == word) return {};
  try {
    parse_bytes_or_percent(text, uint64_t{1} << 40, "size");
  } catch (const Error& error) {
    const std::string message = error.what();
    return message.substr(message.find(": ") + 2);  // CLI11 names the option itself
  }
  return {};
}

// An option group is a subcommand without a name.
std::vector<const CLI::App*> verbs_or_groups(const CLI::App& app, bool verbs) {
  return app.get_subcommands([verbs](const CLI::App* inner) { return inner->get_name().empty() != verbs; });
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  for (const CLI::App* group : verbs_or_groups(app, false))
    for (std::string& name : option_names(*group)) names.push_back(std::move(name));
  return names;
}

std::string explain_unknown(const CLI::App& app) {
  if (!app.get_subcommands().empty()) return explain_unknown(*app.get_subcommands().front());
  std::string verb = app.get_name();
  for (const CLI::App* outer = app.get_parent(); outer; outer = outer->get_parent())
    verb = outer->get_name() + " " + verb;
  const std::string where = " (" + verb + " --help)";
  verb = verb.substr(verb.find(' ') + 1);  // without the program
  const std::vector<std::string> rest = app.remaining();
  const std::string argument = rest.empty() ? std::string() : rest.front();
  if (argument.size() > 1 && argument[0] == '-') {
    const std::string name = argument.substr(0, argument.find('='));
    return verb + " has no option " + printable(name) + suggestion(name, option_names(app)) + where;
  }
  std::vector<std::string> inner;
  for (const CLI::App* one : verbs_or_groups(app, true)) inner.push_back(one->get_name());
  if (!inner.empty())
    return verb + " has no verb " + printable(argument) + suggestion(argument, inner) + where;
  return verb + " does not know what to do with " + printable(argument) + "; quote a prompt that has spaces" +
         where;
}

}  // namespace

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

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::separated() {
  option_->delimiter(',');
  return *this;
}

Option& Option::range(int64_t low, int64_t high) {
  check(*option_, CLI::Range(low, high));
  return *this;
}

Option& Option::range(double low, double high) {
  check(*option_, CLI::Range(low, high));
  return *this;
}

Option& Option::one_of(std::vector<std::string> words) {
  check(*option_, CLI::IsMember(std::move(words)));
  return *this;
}

Option& Option::size(std::string word) {
  option_->check([word = std::move(word)](const std::string& text) { return check_size(text, word); });
  return *this;
}

Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

bool Option::given() const { return option_->count() > 0; }

Arguments::Arguments(const std::string& verb, const std::string& summary)
    : Arguments(std::make_shared<CLI::App>("sluice " + verb + ": " + summary, "sluice " + verb), "") {
  app_->set_help_flag("-h,--help", "explain this verb and stop");
  app_->get_formatter()->column_width(kHelpColumn);
}

Arguments::Arguments(std::shared_ptr<CLI::App> app, std::string heading)
    : app_(std::move(app)), heading_(std::move(heading)) {}

Option Arguments::add_option(const std::string& names, Target into, const std::string& what) {
  CLI::Option* const option = add(*app_, names, into, what);
  option->allow_extra_args(false);
  if (!heading_.empty()) option->group(heading_);
  return Option(option);
}

Option Arguments::add_positional(const std::string& name, Target into, const std::string& what) {
  return Option(add(*app_, name, into, what));
}

Option Arguments::flag(const std::string& names, bool& into, const std::string& what) {
  CLI::Option* const option = app_->add_flag(names, into, what);
  if (!heading_.empty()) option->group(heading_);
  return Option(option);
}

// CLI11's own transformer would print the bytes of enumerators.
Option Arguments::add_choice(const std::string& names, std::vector<std::string> words,
                             std::function<void(size_t)> choose, const std::string& what) {
  const auto [name, value] = names_and_value(names);
  const auto find = [words, choose = std::move(choose)](const std::string& word) {
    choose(static_cast<size_t>(std::find(words.begin(), words.end(), word) - words.begin()));
  };
  CLI::Option* const option = app_->add_option_function<std::string>(name, find, what)->type_name(value);
  if (!heading_.empty()) option->group(heading_);
  return Option(option).one_of(std::move(words));
}

Arguments Arguments::group(const std::string& heading) { return {app_, heading}; }

Arguments Arguments::exactly_one(const std::string& heading, const std::string& what) {
  CLI::App* const group = app_->add_option_group(heading, what);
  group->require_option(1);
  return {std::shared_ptr<CLI::App>(app_, group), ""};
}

Arguments Arguments::verb(const std::string& name, const std::string& summary, std::function<void()> chosen) {
  app_->require_subcommand(0, 1);
  CLI::App* const verb = app_->add_subcommand(name, summary);
  verb->callback(std::move(chosen));
  return {std::shared_ptr<CLI::App>(app_, verb), ""};
}

void Arguments::footer(const std::string& text) { app_->footer(text); }

bool Arguments::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp&) {
    return false;
  } catch (const CLI::ExtrasError&) {
    throw UsageError(explain_unknown(*app_));
  } catch (const CLI::ParseError& error) {
    const std::string& verb = app_->get_name();  // with the program before it
    throw UsageError(verb.substr(verb.find(' ') + 1) + ": " + printable(error.what(), 400));
  }
}

std::string Arguments::help() const { return app_->help(); }

}  // namespace sluice
