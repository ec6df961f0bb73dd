// SPDX-License-Identifier: Apache-2.0
// Conversion between the type of the caller's arrays and the type of the arithmetic: read and write convert where the
// two differ, and are load and store where they do not.

template <class To, class V>
inline Vec<To> convert(V v) {
  return __builtin_convertvector(v, Vec<To>);
}

template <class To, class From>
inline Vec<To> read_n(const From* p, Index n) {
  if constexpr (__is_same(From, To)) return load_n(p, n);
  Vec<To> v{};
  for (Index k = 0; k < n; ++k) v[k] = static_cast<To>(p[k]);
  return v;
}
template <class To, class From>
inline Vec<To> read(const From* p) {
  if constexpr (__is_same(From, To)) return load(p);
  return read_n<To>(p, kWidth<To>);
}

template <class From, class To>
inline void write_n(To* p, Vec<From> v, Index n) {
  if constexpr (__is_same(From, To)) return store_n(p, v, n);
  for (Index k = 0; k < n; ++k) p[k] = static_cast<To>(v[k]);
}
template <class From, class To>
inline void write(To* p, Vec<From> v) {
  if constexpr (__is_same(From, To)) return store(p, v);
  write_n<From>(p, v, kWidth<From>);
}
