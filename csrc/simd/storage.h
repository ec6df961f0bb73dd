// SPDX-License-Identifier: Apache-2.0
// Conversion between the type of the caller's arrays and the type of the arithmetic: read and write convert where the
// two differ, and are load and store where they do not.

template <class To, class V>
inline Vec<To> convert(V v) {
  return __builtin_convertvector(v, Vec<To>);
}

template <class To, class From>
inline Vec<To> read_n(const From* p, Index n) {
  if constexpr (__is_same(From, BFloat16)) return widened(load_n(p, n));
  if constexpr (__is_same(From, To)) return load_n(p, n);
}
template <class To, class From>
inline Vec<To> read(const From* p) {
  if constexpr (__is_same(From, BFloat16)) return widened(load(p));
  if constexpr (__is_same(From, To)) return load(p);
}

template <class From, class To>
inline void write_n(To* p, Vec<From> v, Index n) {
  if constexpr (__is_same(To, BFloat16)) return store_n(p, narrowed(v), n);
  if constexpr (__is_same(From, To)) return store_n(p, v, n);
}
template <class From, class To>
inline void write(To* p, Vec<From> v) {
  if constexpr (__is_same(To, BFloat16)) return store(p, narrowed(v));
  if constexpr (__is_same(From, To)) return store(p, v);
}

// What numbers become when they are stored.
template <class Storage, class V>
inline V rounded(V v) {
  if constexpr (__is_same(Storage, BFloat16)) return widened(narrowed(v));
  return v;
}
