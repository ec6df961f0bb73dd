// SPDX-License-Identifier: Apache-2.0
// The vector vocabulary that every kernel is written in, on GCC/Clang vector extensions.  An instruction set adds
// kVectorBytes, kRegisters, fma, load_n and store_n (avx512.h, avx2.h, baseline.h, neon.h); the rest is here, once.
// Included inside the namespace of a target.

template <class Real>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes), may_alias));
  typedef float unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef std::int32_t bits __attribute__((vector_size(kVectorBytes), may_alias));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes), may_alias));
  typedef double unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef std::int64_t bits __attribute__((vector_size(kVectorBytes), may_alias));
};

template <class Real>
using Vec = typename VectorOf<Real>::type;
template <class Real>
using Bits = typename VectorOf<Real>::bits;
template <class Real>
constexpr Index kWidth = kVectorBytes / sizeof(Real);

template <class Real>
inline Vec<Real> load(const Real* p) {
  return *reinterpret_cast<const typename VectorOf<Real>::unaligned*>(p);
}
template <class Real>
inline void store(Real* p, Vec<Real> v) {
  *reinterpret_cast<typename VectorOf<Real>::unaligned*>(p) = v;
}
template <class Real>
inline Vec<Real> broadcast(Real value) {
  return value - Vec<Real>{};
}

// Lanes of the pair (upper, lower) that make the new upper or the new lower row; the lower's count on from the width.
// Constants: a mask that is put together at run time costs more than the shuffle.
template <class Real, Index half, bool lower, std::size_t... l>
constexpr Bits<Real> exchanged(std::index_sequence<l...>) {
  constexpr Index width = kWidth<Real>;
  return Bits<Real>{(lower ? (l & half ? width + l : l + half) : (l & half ? width + l - half : l))...};
}

template <class Real, Index half>
inline void exchange(Vec<Real> (&rows)[kWidth<Real>]) {
  constexpr auto lanes = std::make_index_sequence<kWidth<Real>>();
#pragma GCC unroll 16
  for (Index r = 0; r < kWidth<Real>; ++r) {
    if (r & half) continue;
    const Vec<Real> upper = rows[r], lower = rows[r + half];
    rows[r] = __builtin_shuffle(upper, lower, exchanged<Real, half, false>(lanes));
    rows[r + half] = __builtin_shuffle(upper, lower, exchanged<Real, half, true>(lanes));
  }
}

// Row r, lane l becomes row l, lane r: blocks off the diagonal change places, halves first, then quarters, ...
template <class Real, Index half = kWidth<Real> / 2>
inline void transpose(Vec<Real> (&rows)[kWidth<Real>]) {
  if constexpr (half > 0) {
    exchange<Real, half>(rows);
    transpose<Real, half / 2>(rows);
  }
}
