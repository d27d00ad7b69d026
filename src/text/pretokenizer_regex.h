// The regular expressions of tokenizers, on PCRE2 with its JIT. Files write them for Oniguruma, Rust or
// Python; the few spots where PCRE2 10.42 reads them otherwise are rewritten at compile time. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace sluice {

class Regex {
 public:
  enum class Syntax { kRegex, kLiteral };

  // Throws kUnsupported, naming the pattern, when it does not compile.
  explicit Regex(std::string_view pattern, Syntax syntax = Syntax::kRegex);

  struct Match {
    size_t begin;
    size_t end;
  };

  // Walks over the matches of one text, left to right. Empty matches are passed over: they cut nothing.
  class Matches {
   public:
    // `text` is valid UTF-8 and, like `regex`, outlives this.
    Matches(const Regex& regex, std::string_view text);
    // False at the end. Throws kUnsupported when the matcher's limits (backtracking, stack) are exceeded.
    bool next(Match* match);

   private:
    struct FreeData {
      void operator()(pcre2_real_match_data_8* data) const noexcept;
    };
    const Regex& regex_;
    std::string_view text_;
    size_t offset_ = 0;
    std::unique_ptr<pcre2_real_match_data_8, FreeData> data_;
  };

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const noexcept;
  };
  std::string pattern_;
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
  bool jit_ = false;
};

// The rewriting alone, for tests:
//   \s, \S                as Unicode's White_Space (PCRE2 counts U+180E, which left that set in Unicode 6.3)
//   \p{Han} and the like  as scripts (PCRE2 takes script extensions)
//   [A&&[^B]]             as (?:(?![B])[A]): PCRE2 has no class intersection
std::string regex_for_pcre2(std::string_view pattern);

}  // namespace sluice
