#include "text/tokenizer_parts.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <utility>

#include "base/error.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

// Tokens that end a turn or a text, in the spelling of the model families that use them.
constexpr std::string_view kEndNames[] = {"<|im_end|>",
                                          "<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|eot|>",
                                          "<|eom|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<end_of_turn>",
                                          "<|end_of_turn|>",
                                          "<turn|>",
                                          "<|endoftext|>",
                                          "<|end_of_text|>",
                                          "</s>",
                                          "<eos>",
                                          "[EOS]",
                                          "<EOT>",
                                          "_<EOT>",
                                          "<|end▁of▁sentence|>",
                                          "<｜end▁of▁sentence｜>",
                                          "<end_of_utterance>",
                                          "<|endofturn|>",
                                          "<|END_OF_TURN_TOKEN|>"};

void replace_all(std::string* text, const Decoding::Replacement& replacement) {
  if (replacement.from.empty()) return;
  for (size_t at = 0; (at = text->find(replacement.from, at)) != text->npos; at += replacement.to.size()) {
    text->replace(at, replacement.from.size(), replacement.to);
  }
}

// The byte of "<0x0A>", or -1.
int byte_of(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string decode_token(const TokenizerParts& parts, int32_t id) {
  const Decoding& decoding = parts.decoding;
  std::string text(parts.vocabulary.text(id));
  if (parts.vocabulary.kind(id) == TokenKind::kControl) return text;
  if (decoding.byte_tokens) {
    const int byte = byte_of(text);
    if (byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  for (const auto& replacement : decoding.replacements) replace_all(&text, replacement);
  if (decoding.strip_each && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

void collect_end_ids(TokenizerParts* parts) {
  auto& ends = parts->end_ids;
  if (parts->eos) ends.push_back(*parts->eos);
  for (const std::string_view name : kEndNames) {
    const int32_t id = parts->vocabulary.find(name);
    if (id >= 0 && parts->vocabulary.kind(id) != TokenKind::kNormal) ends.push_back(id);
  }
  // Harmony (gpt-oss) closes each message with <|end|>; only <|return|> and <|call|> end the turn.
  const int32_t message_end = parts->vocabulary.find("<|end|>");
  if (parts->vocabulary.find("<|return|>") >= 0 && parts->vocabulary.find("<|call|>") >= 0) {
    std::erase(ends, message_end);
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

}  // namespace

void add_token(AddedToken token, const std::string& where, TokenizerParts* parts) {
  Vocabulary& vocabulary = parts->vocabulary;
  if (token.id < 0 || token.id > Vocabulary::kMaxId) {
    throw_error(ErrorKind::kCorrupt, "%s: added token \"%s\" has id %" PRId32 "; ids lie in [0, %" PRId32 "]",
                where.c_str(), printable(token.content).c_str(), token.id, Vocabulary::kMaxId);
  }
  if (vocabulary.kind(token.id) == TokenKind::kMissing) {
    vocabulary.add(token.id, token.content, token.special ? TokenKind::kControl : TokenKind::kUserDefined);
  } else if (token.special) {
    vocabulary.set_kind(token.id, TokenKind::kControl);
  }
  if (!is_valid_utf8(token.content)) return;
  // The normalized text holds what the normalizer makes of the token.
  if (token.normalized && !parts->normalizer.empty()) {
    token.content = parts->normalizer.apply(token.content, SegmentPlace::kContinuation);
  }
  if (!token.content.empty()) parts->added.add(std::move(token));
}

std::array<int32_t, 256> find_byte_tokens(const Vocabulary& vocabulary) {
  std::array<int32_t, 256> ids;
  for (int byte = 0; byte < 256; ++byte) {
    ids[static_cast<size_t>(byte)] = vocabulary.find(format_string("<0x%02X>", static_cast<unsigned>(byte)));
  }
  return ids;
}

void finish_parts(const std::string& where, TokenizerParts* parts) {
  const auto check = [&](const char* what, int32_t id) {
    if (id < 0 || static_cast<size_t>(id) >= parts->vocabulary.size()) {
      throw_error(ErrorKind::kCorrupt, "%s: %s has id %" PRId32 ", but there are %zu tokens", where.c_str(),
                  what, id, parts->vocabulary.size());
    }
  };
  if (parts->bos) check("BOS", *parts->bos);
  if (parts->eos) check("EOS", *parts->eos);
  if (parts->pad) check("the padding token", *parts->pad);
  if (parts->unk) check("the unknown token", *parts->unk);
  for (const int32_t id : parts->prefix) check("a token before the text", id);
  for (const int32_t id : parts->suffix) check("a token after the text", id);
  collect_end_ids(parts);
  if (parts->decoding.as_written) return;
  parts->decoded_begin.push_back(0);
  for (size_t id = 0; id < parts->vocabulary.size(); ++id) {
    parts->decoded += decode_token(*parts, static_cast<int32_t>(id));
    parts->decoded_begin.push_back(static_cast<uint32_t>(parts->decoded.size()));
  }
}

}  // namespace sluice
