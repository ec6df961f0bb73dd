// SPDX-License-Identifier: Apache-2.0
// int8 on AVX2, which multiplies unsigned by signed bytes: |a| by b with the sign of a.  Sums of two such products fit
// into int16, because no number is -128.

constexpr int kInt8Offset = 0;  // what rows are shifted by, so that the units can read them

// sum + a b of the four numbers in a lane.
inline Vec<std::int32_t> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> sum) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)a), _mm256_sign_epi8((__m256i)b, (__m256i)a));
  return sum + (Vec<std::int32_t>)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
