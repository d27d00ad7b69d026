// The catalogue holds facts: they must agree with each other by arithmetic, and with what is published.
#include "plan/catalogue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>
#include <string>

#include "base/error.h"
#include "forge/outline.h"
#include "sluice/engine.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

int64_t of(const Json& config, const char* key, int64_t otherwise = 0) {
  return config.value(key, otherwise);
}

// All numbers of a model, from its shape. Written beside the engine's own account, with which it must agree,
// and for architectures that the engine does not have.
int64_t count_parameters(const Json& c) {
  const std::string type = c.at("model_type");
  const int64_t hidden = c.at("hidden_size"), layers = c.at("num_hidden_layers"),
                heads = c.at("num_attention_heads"), kv_heads = c.at("num_key_value_heads"),
                head = of(c, "head_dim"), ffn = c.at("intermediate_size"), vocab = c.at("vocab_size");
  const int64_t q = heads * head, kv = kv_heads * head;
  int64_t attention = 0;
  if (type == "deepseek_v3") {  // latent attention
    const int64_t q_rank = c.at("q_lora_rank"), kv_rank = c.at("kv_lora_rank"),
                  nope = c.at("qk_nope_head_dim"), rope = c.at("qk_rope_head_dim"),
                  value = c.at("v_head_dim");
    attention = hidden * q_rank + q_rank + q_rank * heads * (nope + rope) + hidden * (kv_rank + rope) +
                kv_rank + kv_rank * heads * (nope + value) + heads * value * hidden;
  } else {
    attention = hidden * (q + 2 * kv) + q * hidden;
  }
  if (type == "qwen2" || type == "gpt_oss" || c.value("attention_bias", false)) attention += q + 2 * kv;
  if (type == "gpt_oss") attention += hidden + heads;  // bias of the output, sinks
  if (type == "qwen3" || type == "qwen3_moe" || type == "gemma3_text" || c.value("use_qk_norm", false))
    attention += 2 * head;
  if (type == "olmoe") attention += q + kv;
  const int64_t norms = (type == "gemma3_text" ? 4 : 2) * hidden;

  int64_t n_experts = of(c, "num_experts");
  for (const char* key : {"num_local_experts", "n_routed_experts"})
    n_experts = std::max(n_experts, of(c, key));
  const int64_t width = of(c, "moe_intermediate_size", ffn);
  int64_t expert = 3 * hidden * width, router = n_experts * hidden;
  if (type == "gpt_oss") expert += 2 * width + hidden;
  if (type == "gpt_oss" || type == "deepseek_v3" || type == "glm4_moe") router += n_experts;
  const int64_t dense_layers = n_experts == 0 ? layers : of(c, "first_k_dense_replace");
  const int64_t moe = (n_experts + of(c, "n_shared_experts")) * expert + router;
  const int64_t tables = c.at("tie_word_embeddings").get<bool>() ? 1 : 2;
  return tables * vocab * hidden + hidden + layers * (attention + norms) + dense_layers * 3 * hidden * ffn +
         (layers - dense_layers) * moe;
}

// "235" of "Qwen3 235B-A22B", in units; 0 where a name has none.
double billions_in(const std::string& name, char before) {
  for (size_t at = 0; at < name.size(); ++at) {
    if (name[at] != before) continue;
    char* end = nullptr;
    const double value = std::strtod(name.c_str() + at + 1, &end);
    if (end > name.c_str() + at + 1 && *end == 'B') return value * 1e9;
  }
  return 0;
}

TEST(Catalogue, HasEnoughAndNothingTwice) {
  std::set<std::string> names, repositories;
  for (const CatalogueEntry& entry : catalogue()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    EXPECT_TRUE(repositories.insert(entry.repository).second) << entry.repository;
    EXPECT_NE(entry.repository.find('/'), std::string::npos) << entry.name;
    EXPECT_FALSE(entry.licence.empty()) << entry.name;
    EXPECT_TRUE(!entry.gguf.empty() || !entry.is_supported()) << entry.name;  // it begins with such a file
    EXPECT_GE(of(entry.config, "max_position_embeddings"), 2048) << entry.name;
    EXPECT_EQ(find_in_catalogue(entry.name), &entry);
    EXPECT_EQ(find_in_catalogue(entry.repository), &entry);
  }
  EXPECT_GE(names.size(), 25U);
}

TEST(Catalogue, ParametersFollowFromTheShape) {
  for (const CatalogueEntry& entry : catalogue())
    EXPECT_EQ(count_parameters(entry.config), entry.parameters) << entry.name;
}

TEST(Catalogue, NamesAgreeWithTheParameters) {
  int n_checked = 0;
  for (const CatalogueEntry& entry : catalogue()) {
    const double named = billions_in(entry.name, ' ');
    if (named == 0 || entry.name.find('x') != std::string::npos || entry.architecture() == "olmoe") continue;
    // Names round: the 1B of Llama has 1.24.
    EXPECT_NEAR(static_cast<double>(entry.parameters) / named, 1, named < 2e9 ? 0.25 : 0.15) << entry.name;
    ++n_checked;
  }
  EXPECT_GE(n_checked, 25);
}

TEST(Catalogue, SupportedEntriesBindAndHaveTheirBytes) {
  int n_supported = 0;
  for (const CatalogueEntry& entry : catalogue()) {
    for (const CatalogueFile& file : entry.files) EXPECT_GT(file.bytes, 0U) << entry.name;
    if (!entry.is_supported()) continue;
    ++n_supported;
    for (const CatalogueFile& file : entry.files) {
      const Outline outline(entry.config, file.type);
      EXPECT_EQ(outline.n_parameters(), entry.parameters) << entry.name;
      EXPECT_NEAR(static_cast<double>(outline.data_bytes()), static_cast<double>(file.bytes), 1e4)
          << entry.name << ", " << file.type;
    }
    if (entry.parameters > 20'000'000'000) continue;  // binding a hundred thousand tensors takes its time
    const Outline outline(entry.config, entry.files[0].type);
    const std::unique_ptr<Engine> engine = Engine::open({.model = outline.path()});
    EXPECT_EQ(engine->info().n_layers, of(entry.config, "num_hidden_layers")) << entry.name;
    // Small vectors are not counted there.
    EXPECT_NEAR(static_cast<double>(engine->info().n_parameters) / static_cast<double>(entry.parameters), 1,
                1e-3)
        << entry.name;
    const double active = billions_in(entry.name, 'A');
    if (active > 0) {
      EXPECT_NEAR(static_cast<double>(engine->info().n_active_parameters) / active, 1, 0.15);
    }
  }
  EXPECT_GE(n_supported, 20);
}

// Sizes of files as their repositories list them, to three digits, of which a header is a few megabytes.
TEST(Outline, StockFilesHaveTheirPublishedSizes) {
  struct Published {
    const char* name;
    const char* type;
    double gigabytes;
  };
  constexpr Published kPublished[] = {
      {"Llama 3.2 1B Instruct", "q4_k_m", 0.808},
      {"Llama 3.2 3B Instruct", "q4_k_m", 2.02},
      {"Llama 3.1 8B Instruct", "q4_k_m", 4.92},
      {"Llama 3.1 8B Instruct", "q8_0", 8.54},
      {"Mistral 7B Instruct v0.3", "q4_k_m", 4.37},
      {"Mistral Nemo 12B Instruct", "q4_k_m", 7.48},
      {"Qwen2.5 7B Instruct", "q4_k_m", 4.68},
      {"Qwen3 8B", "q4_k_m", 5.03},
      {"Llama 3.3 70B Instruct", "q4_k_m", 42.52},
      {"Qwen3 30B-A3B Instruct 2507", "q4_k_m", 18.6},
      {"Qwen3 1.7B", "q8_0", 1.834},
  };
  for (const Published& p : kPublished) {
    const CatalogueEntry* entry = find_in_catalogue(p.name);
    ASSERT_NE(entry, nullptr) << p.name;
    const Outline outline(entry->config, p.type);
    EXPECT_NEAR(static_cast<double>(outline.bytes()) * 1e-9 / p.gigabytes, 1, 0.015)
        << p.name << ", " << p.type;
  }
}

TEST(Outline, RefusesWhatItDoesNotKnow) {
  const Json config = find_in_catalogue("Qwen3 8B")->config;
  EXPECT_THROW(Outline(config, "q1_x"), Error);
  EXPECT_THROW(Outline(find_in_catalogue("gpt-oss 20B")->config, "bf16"), Error);
}

TEST(Catalogue, IsFoundByWhatPeopleType) {
  EXPECT_EQ(find_in_catalogue("qwen3-8b"), find_in_catalogue("Qwen/Qwen3-8B"));
  EXPECT_EQ(find_in_catalogue("Qwen3-8B-GGUF"), find_in_catalogue("Qwen3 8B"));
  EXPECT_EQ(find_in_catalogue("gpt-oss-20b"), find_in_catalogue("openai/gpt-oss-20b"));
  EXPECT_EQ(find_in_catalogue("qwen"), nullptr);
  EXPECT_EQ(find_in_catalogue(""), nullptr);
  const CatalogueEntry* entry = find_in_catalogue("Qwen3 8B");
  EXPECT_EQ(entry->source("q4_k_m"), "Qwen/Qwen3-8B-GGUF:Q4_K_M");
  EXPECT_EQ(entry->source("bf16"), "Qwen/Qwen3-8B");
  EXPECT_EQ(entry->file("Q8_0")->type, "q8_0");
  EXPECT_EQ(entry->file("q2_k"), nullptr);
}

}  // namespace
}  // namespace sluice
