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

// Comparisons with NaN are false, so the clamps pass a NaN in x on.
template <class V>
inline V at_most(V x, V bound) {
  return x > bound ? bound : x;
}
template <class V>
inline V at_least(V x, V bound) {
  return x < bound ? bound : x;
}
