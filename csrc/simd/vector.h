// SPDX-License-Identifier: Apache-2.0
// The vectors that every kernel is written in, on GCC/Clang vector extensions.  An instruction set adds fma,
// square_root, load_n, store_n, at_most and at_least (avx512.h, avx2.h, baseline.h, neon.h) and its bfloat16
// (avx512_bf16.h or bfloat16.h), its target_*.cpp kVectorBytes and kRegisters. Included inside the namespace of a
// target.  bfloat16 is stored, widened and multiplied, never computed with alone.

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

// Two bfloat16 or four int8 in a lane, and sums of int8.
template <>
struct VectorOf<std::int32_t> {
  typedef std::int32_t type __attribute__((vector_size(kVectorBytes), may_alias));
  typedef std::int32_t unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef type bits;
};

// As many as there are floats in a vector.
template <>
struct VectorOf<BFloat16> {
  typedef std::uint16_t type __attribute__((vector_size(kVectorBytes / 2), may_alias));
  typedef std::uint16_t unaligned __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
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

// The lanes of a and then of b, at the places `from`, which are constants.
template <class Real>
[[gnu::always_inline]] inline Vec<Real> shuffled(Vec<Real> a, Vec<Real> b, Bits<Real> from) {
#ifdef __clang__  // which has the function under another name, for constants in its call alone
  Vec<Real> found{};
#pragma clang loop unroll(full)
  for (Index l = 0; l < kWidth<Real>; ++l) found[l] = from[l] < kWidth<Real> ? a[from[l]] : b[from[l] - kWidth<Real>];
  return found;
#else
  return __builtin_shuffle(a, b, from);
#endif
}
