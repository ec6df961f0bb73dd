// SPDX-License-Identifier: Apache-2.0
// Tails and clamps for instruction sets without masks.  The first n of a vector's elements; load_n fills the rest with
// zeros.

template <class Real>
inline Vec<Real> load_n(const Real* p, Index n) {
  if (n == kWidth<Real>) return load(p);
  Vec<Real> v{};
  for (Index k = 0; k < n; ++k) v[k] = p[k];
  return v;
}
template <class Real>
inline void store_n(Real* p, Vec<Real> v, Index n) {
  if (n == kWidth<Real>) return store(p, v);
  for (Index k = 0; k < n; ++k) p[k] = v[k];
}

template <class V>
inline V square_root(V x) {
  for (Index l = 0; l < static_cast<Index>(sizeof x / sizeof x[0]); ++l) x[l] = __builtin_sqrt(x[l]);
  return x;
}

// The smaller, or the larger, of x and a bound; comparisons with NaN are false, so a NaN in x is passed on.
template <class V>
inline V at_most(V x, V bound) {
  return x > bound ? bound : x;
}
template <class V>
inline V at_least(V x, V bound) {
  return x < bound ? bound : x;
}
