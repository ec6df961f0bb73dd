// SPDX-License-Identifier: Apache-2.0
// AVX2 with FMA: 16 registers of 32 bytes.

inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm256_fmadd_pd(a, b, c); }

inline Vec<float> square_root(Vec<float> x) { return _mm256_sqrt_ps(x); }
inline Vec<double> square_root(Vec<double> x) { return _mm256_sqrt_pd(x); }

// Two halves of a vector.
template <class Real>
inline Vec<Real> load_halves(const void* lower, const void* upper) {
  const __m256i v = _mm256_castsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(lower)));
  return (Vec<Real>)_mm256_inserti128_si256(v, _mm_loadu_si128(static_cast<const __m128i*>(upper)), 1);
}

// The first n of a vector's elements; load_n fills the rest with zeros.
inline __m256i first_floats(Index n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_doubles(Index n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline Vec<float> load_n(const float* p, Index n) { return _mm256_maskload_ps(p, first_floats(n)); }
inline Vec<double> load_n(const double* p, Index n) { return _mm256_maskload_pd(p, first_doubles(n)); }
// A masked store takes a tenth of a cell's time on some processors, and most are of whole vectors.
inline void store_n(float* p, Vec<float> v, Index n) {
  if (n >= kWidth<float>) return store(p, v);
  _mm256_maskstore_ps(p, first_floats(n), v);
}
inline void store_n(double* p, Vec<double> v, Index n) {
  if (n >= kWidth<double>) return store(p, v);
  _mm256_maskstore_pd(p, first_doubles(n), v);
}

// The smaller, or the larger, of x and a bound; a NaN in x is passed on (the instruction returns its second operand).
inline Vec<float> at_most(Vec<float> x, Vec<float> bound) { return _mm256_min_ps(bound, x); }
inline Vec<double> at_most(Vec<double> x, Vec<double> bound) { return _mm256_min_pd(bound, x); }
inline Vec<float> at_least(Vec<float> x, Vec<float> bound) { return _mm256_max_ps(bound, x); }
inline Vec<double> at_least(Vec<double> x, Vec<double> bound) { return _mm256_max_pd(bound, x); }
