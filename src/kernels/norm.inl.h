// The work between the products, on rows of floats: norms, gates, rotations, conversions, exp. Each value is
// computed in one order that depends on nothing but the row's length.

inline F f_load_part(const float* p, int64_t n) {
  float buffer[kLanes] = {};
  __builtin_memcpy(buffer, p, static_cast<size_t>(n) * sizeof(float));
  return f_load(buffer);
}
inline void f_store_part(float* p, F x, int64_t n) {
  float buffer[kLanes];
  f_store(buffer, x);
  __builtin_memcpy(p, buffer, static_cast<size_t>(n) * sizeof(float));
}

// e^x within 2 ulp; 0 below -87.3 (no subnormal results), infinity above 88.7, NaN for NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its series to r^7, times 2^n in two steps so that both powers
// are normal.
inline F f_exp(F x) {
  const F bounded = f_min(f_set(89.0f), f_max(f_set(-88.0f), x));
  const F n = f_round(f_mul(bounded, f_set(1.44269504f)));
  F r = f_fma(n, f_set(-0.693359375f), bounded);
  r = f_fma(n, f_set(2.12194440e-4f), r);
  F e = f_set(1.0f / 5040);
  e = f_fma(e, r, f_set(1.0f / 720));
  e = f_fma(e, r, f_set(1.0f / 120));
  e = f_fma(e, r, f_set(1.0f / 24));
  e = f_fma(e, r, f_set(1.0f / 6));
  e = f_fma(e, r, f_set(0.5f));
  e = f_fma(e, r, f_set(1.0f));
  e = f_fma(e, r, f_set(1.0f));
  const I power = f_to_i(n);
  const I half = i_sar<1>(power);
  const F first = as_f(i_shl<23>(i_add(half, i_set(127))));
  const F second = as_f(i_shl<23>(i_add(i_sub(power, half), i_set(127))));
  const F result = f_mul(f_mul(e, first), second);
  return f_select_less(x, f_set(-87.33654f), f_set(0), result);
}

inline void exp_row(const float* x, float* out, int64_t n) noexcept {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(out + i, f_exp(f_load(x + i)));
  if (i < n) f_store_part(out + i, f_exp(f_load_part(x + i, n - i)), n - i);
}

inline void rms_norm_row(const float* x, const float* weight, float eps, float* out, int64_t cols) noexcept {
  const int64_t whole = cols / kLanes * kLanes, rest = cols - whole;
  F squares = f_set(0);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const F v = f_load(x + i);
    squares = f_fma(v, v, squares);
  }
  if (rest != 0) {
    const F v = f_load_part(x + whole, rest);
    squares = f_fma(v, v, squares);
  }
  const float mean = f_sum(squares) / static_cast<float>(cols);
  const F scale = f_set(1.0f / __builtin_sqrtf(mean + eps));
  for (int64_t i = 0; i < whole; i += kLanes) {
    f_store(out + i, f_mul(f_mul(f_load(x + i), scale), f_load(weight + i)));
  }
  if (rest != 0) {
    const F v = f_mul(f_load_part(x + whole, rest), scale);
    f_store_part(out + whole, f_mul(v, f_load_part(weight + whole, rest)), rest);
  }
}

inline F f_swiglu(F gate, F up) {
  const F one_plus = f_add(f_set(1), f_exp(f_sub(f_set(0), gate)));
  return f_mul(f_div(gate, one_plus), up);
}
inline void swiglu_row(float* gate, const float* up, int64_t n) noexcept {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(gate + i, f_swiglu(f_load(gate + i), f_load(up + i)));
  if (i < n) {
    f_store_part(gate + i, f_swiglu(f_load_part(gate + i, n - i), f_load_part(up + i, n - i)), n - i);
  }
}

inline void add_scaled_row(float* x, const float* y, float scale, int64_t n) noexcept {
  const F s = f_set(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(x + i, f_fma(f_load(y + i), s, f_load(x + i)));
  if (i < n) f_store_part(x + i, f_fma(f_load_part(y + i, n - i), s, f_load_part(x + i, n - i)), n - i);
}

// Pairs `apart` floats from each other, `step` floats from pair to pair.
inline void rotate_pairs(float* x, int64_t n_pairs, int64_t apart, int64_t step, const float* cosines,
                         const float* sines) {
  for (int64_t i = 0; i < n_pairs; ++i) {
    float* p = x + i * step;
    const float a = p[0], b = p[apart];
    p[0] = a * cosines[i] - b * sines[i];
    p[apart] = b * cosines[i] + a * sines[i];
  }
}

inline void rope_heads(RopeStyle style, float* x, int64_t n_heads, int64_t head_dim, int64_t rotary_dim,
                       const float* cosines, const float* sines) noexcept {
  const int64_t n_pairs = rotary_dim / 2;
  for (int64_t h = 0; h < n_heads; ++h, x += head_dim) {
    if (style == RopeStyle::kPairs) {
      rotate_pairs(x, n_pairs, 1, 2, cosines, sines);
      continue;
    }
    int64_t i = 0;
    for (; i + kLanes <= n_pairs; i += kLanes) {
      const F a = f_load(x + i), b = f_load(x + n_pairs + i), c = f_load(cosines + i), s = f_load(sines + i);
      f_store(x + i, f_sub(f_mul(a, c), f_mul(b, s)));
      f_store(x + n_pairs + i, f_add(f_mul(b, c), f_mul(a, s)));
    }
    rotate_pairs(x + i, n_pairs - i, n_pairs, 1, cosines + i, sines + i);
  }
}

// One block of a span: see activation.h.
SLUICE_INLINE void quantize_block(const float* x, F inverse, bool is_finite, float scale, float sum_scale,
                                  ActivationBlock* out) {
  constexpr int kVectorsOf16 = 16 / kLanes;
  out->scale = scale;
  SLUICE_UNROLL for (int h = 0; h < 2; ++h) {
    I sum = i_set(0);
    SLUICE_UNROLL for (int v = 0; v < kVectorsOf16; ++v) {
      const int at = 16 * h + v * kLanes;
      const I q = f_to_i(is_finite ? f_mul(f_load(x + at), inverse) : f_set(0));
      i8_store(out->q + at, q);
      sum = i_add(sum, q);
    }
    const int32_t total = i_sum(sum);
    out->neg_q16[h] = -total;
    out->sum16[h] = sum_scale * static_cast<float>(total);
  }
  out->neg_q = out->neg_q16[0] + out->neg_q16[1];
  out->sum = sum_scale * static_cast<float>(-out->neg_q);
  out->padding = 0;
}

template <int64_t kSpan>
inline void quantize_spans(const float* x, int64_t cols, ActivationBlock* out) {
  constexpr int32_t kInfinity = 0x7f800000;
  for (const float* const end = x + cols; x < end; x += kSpan) {
    I greatest = i_set(0);  // magnitudes order as integers, NaN above all
    SLUICE_UNROLL for (int64_t i = 0; i < kSpan; i += kLanes) {
      greatest = i_max(greatest, i_and(as_i(f_load(x + i)), i_set(0x7fffffff)));
    }
    const int32_t bits = i_max_lane(greatest);
    const float amax = __builtin_bit_cast(float, bits);
    const bool is_finite = bits < kInfinity, is_zero = amax < 0x1p-100f;
    const float scale = is_zero ? 0 : is_finite ? amax / 127.0f : __builtin_nanf("");
    const F inverse = f_set(is_zero || !is_finite ? 0 : 127.0f / amax);
    for (int64_t i = 0; i < kSpan; i += kActivationBlock) {
      quantize_block(x + i, inverse, is_finite, scale, kSpan == kLongSpan ? 1 : scale, out++);
    }
  }
}
inline void quantize_row(const float* x, int64_t cols, int64_t span, ActivationBlock* out) noexcept {
  return span == kLongSpan ? quantize_spans<kLongSpan>(x, cols, out)
                           : quantize_spans<kActivationBlock>(x, cols, out);
}

inline void convert_kv_row(KvType type, const float* src, void* dst, int64_t n) noexcept {
  if (type == KvType::kF32) {
    __builtin_memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  auto* half = static_cast<uint16_t*>(dst);
  const auto put = type == KvType::kF16 ? f16_store : bf16_store;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) put(half + i, f_load(src + i));
  if (i < n) {
    uint16_t rest[kLanes];
    put(rest, f_load_part(src + i, n - i));
    __builtin_memcpy(half + i, rest, static_cast<size_t>(n - i) * sizeof(uint16_t));
  }
}

// To int8 by the row's greatest magnitude, to nearest even. Returns the scale: 0 for a row of zeros, NaN if
// a value is not finite.
inline float quantize_kv_row(const float* src, int8_t* dst, int64_t n) noexcept {
  const auto load = [&](int64_t i) {
    return i + kLanes <= n ? f_load(src + i) : f_load_part(src + i, n - i);
  };
  I greatest = i_set(0);  // magnitudes order as integers, NaN above all
  for (int64_t i = 0; i < n; i += kLanes) greatest = i_max(greatest, i_and(as_i(load(i)), i_set(0x7fffffff)));
  const int32_t bits = i_max_lane(greatest);
  const float amax = __builtin_bit_cast(float, bits);
  const bool is_finite = bits < 0x7f800000, is_zero = amax < 0x1p-100f;
  const F inverse = f_set(is_zero || !is_finite ? 0 : 127.0f / amax);
  for (int64_t i = 0; i < n; i += kLanes) {
    const I q = f_to_i(is_finite ? f_mul(load(i), inverse) : f_set(0));
    if (i + kLanes <= n) {
      i8_store(dst + i, q);
    } else {
      int8_t rest[kLanes];
      i8_store(rest, q);
      __builtin_memcpy(dst + i, rest, static_cast<size_t>(n - i));
    }
  }
  return is_zero ? 0 : is_finite ? amax / 127.0f : __builtin_nanf("");
}
