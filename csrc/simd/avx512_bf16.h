// SPDX-License-Identifier: Apache-2.0
// bfloat16 with the units of AVX512-BF16.

inline Vec<BFloat16> load_n(const BFloat16* p, Index n) {
  return (Vec<BFloat16>)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p);
}
inline void store_n(BFloat16* p, Vec<BFloat16> v, Index n) {
  if (n == kWidth<float>) return store(p, v);
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1), (__m256i)v);
}

inline Vec<BFloat16> narrowed(Vec<float> v) { return (Vec<BFloat16>)_mm512_cvtneps_pbh(v); }

// sum + a b of both numbers in a lane, the upper ones first.
inline Vec<float> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<float> sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
