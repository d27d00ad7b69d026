// The table of one instruction set. SLUICE_ISA_NAME is its public name.

#include "kernels/peaks.inl.h"

constexpr KernelTable make_table() {
  KernelTable t = {};
  t.isa = SLUICE_ISA_NAME;
  t.panel_rows = (kFloatGroups > kPanelGroups ? kFloatGroups : kPanelGroups) * kLanes;
  const auto set = [&](Encoding encoding, MatmulFn with_f32, MatmulFn with_int8) {
    t.matmul[static_cast<size_t>(encoding)][static_cast<size_t>(Activation::kF32)] = with_f32;
    t.matmul[static_cast<size_t>(encoding)][static_cast<size_t>(Activation::kInt8)] = with_int8;
  };
  set(Encoding::kF32, matmul_floats<WordF32>, nullptr);
  set(Encoding::kF16, matmul_floats<WordF16>, nullptr);
  set(Encoding::kBF16, matmul_floats<WordBF16>, nullptr);
  for_each_decoder([&](auto decoder) {
    using Decode = typename decltype(decoder)::Decode;
    set(decoder.kEncoding, matmul_f32<IntegerSource<Decode>>, matmul_int8<Decode>);
  });
  t.weave = weave_rows;
  t.attention_segment[static_cast<size_t>(KvType::kF32)] = attention_segment<KvType::kF32>;
  t.attention_segment[static_cast<size_t>(KvType::kF16)] = attention_segment<KvType::kF16>;
  t.attention_segment[static_cast<size_t>(KvType::kBF16)] = attention_segment<KvType::kBF16>;
  t.attention_segment[static_cast<size_t>(KvType::kInt8)] = attention_segment<KvType::kInt8>;
  t.attention_merge = attention_merge;
  t.attention_finish = attention_finish;
  t.quantize_row = quantize_row;
  t.pack = pack;
  t.rms_norm_row = rms_norm_row;
  t.swiglu = swiglu_row;
  t.add_scaled = add_scaled_row;
  t.rope = rope_heads;
  t.convert_kv = convert_kv_row;
  t.quantize_kv = quantize_kv_row;
  t.exp = exp_row;
  t.int8_rounds = int8_rounds;
  t.f32_rounds = f32_rounds;
#if defined(SLUICE_BF16_ROUNDS)
  t.bf16_rounds = SLUICE_BF16_ROUNDS;
#endif
  t.read_streams = read_streams;
  return t;
}
