// SPDX-License-Identifier: Apache-2.0
// AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes, masks for the tails.

inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm512_fmadd_pd(a, b, c); }

inline Vec<float> square_root(Vec<float> x) { return _mm512_sqrt_ps(x); }
inline Vec<double> square_root(Vec<double> x) { return _mm512_sqrt_pd(x); }

// Two halves of a vector.
template <class Real>
inline Vec<Real> load_halves(const void* lower, const void* upper) {
  const __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256(static_cast<const __m256i*>(lower)));
  return (Vec<Real>)_mm512_inserti64x4(v, _mm256_loadu_si256(static_cast<const __m256i*>(upper)), 1);
}

// The first n of a vector's elements; load_n fills the rest with zeros.
inline Vec<float> load_n(const float* p, Index n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
inline Vec<double> load_n(const double* p, Index n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void store_n(float* p, Vec<float> v, Index n) {
  if (n == kWidth<float>) return store(p, v);
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
inline void store_n(double* p, Vec<double> v, Index n) {
  if (n == kWidth<double>) return store(p, v);
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}

// The smaller, or the larger, of x and a bound; a NaN in x is passed on (the instruction returns its second operand).
inline Vec<float> at_most(Vec<float> x, Vec<float> bound) { return _mm512_min_ps(bound, x); }
inline Vec<double> at_most(Vec<double> x, Vec<double> bound) { return _mm512_min_pd(bound, x); }
inline Vec<float> at_least(Vec<float> x, Vec<float> bound) { return _mm512_max_ps(bound, x); }
inline Vec<double> at_least(Vec<double> x, Vec<double> bound) { return _mm512_max_pd(bound, x); }
