// SPDX-License-Identifier: Apache-2.0
// int8 with the units of AVX512-VNNI or AVX-VNNI, which multiply unsigned by signed bytes.

constexpr int kInt8Offset = 128;  // what rows are shifted by, so that the units can read them

// sum + a b of the four numbers in a lane, those of a unsigned.
inline Vec<std::int32_t> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> sum) {
#if defined(__AVX512VNNI__)
  return (Vec<std::int32_t>)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
  return (Vec<std::int32_t>)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#endif
}
