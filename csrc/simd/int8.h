// SPDX-License-Identifier: Apache-2.0
// int8 for instruction sets without units for it: widened to int16, whose products are summed in pairs.

constexpr int kInt8Offset = 0;  // what rows are shifted by, so that the units can read them

typedef std::int16_t Int16s __attribute__((vector_size(kVectorBytes), may_alias));

// The sums of two neighbouring products in each lane.
inline Vec<std::int32_t> pair_sums(Int16s a, Int16s b) {
#if defined(__AVX512BW__)
  return (Vec<std::int32_t>)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__SSE2__)
  return (Vec<std::int32_t>)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  const auto upper = [](Int16s v) { return (Vec<std::int32_t>)v >> 16; };
  const auto lower = [](Int16s v) { return (Vec<std::int32_t>)v << 16 >> 16; };
  return upper(a) * upper(b) + lower(a) * lower(b);
#endif
}

// sum + a b of the four numbers in a lane.
inline Vec<std::int32_t> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> sum) {
  const auto odd = [](Vec<std::int32_t> v) { return (Int16s)v >> 8; };
  const auto even = [](Vec<std::int32_t> v) { return (Int16s)v << 8 >> 8; };
  return sum + pair_sums(odd(a), odd(b)) + pair_sums(even(a), even(b));
}
