// SPDX-License-Identifier: Apache-2.0
// Tails of bfloat16 without masks.

inline Vec<BFloat16> load_n(const BFloat16* p, Index n) {
  if (n == kWidth<float>) return load(p);
  Vec<BFloat16> v{};
  for (Index k = 0; k < n; ++k) v[k] = p[k].bits;
  return v;
}
inline void store_n(BFloat16* p, Vec<BFloat16> v, Index n) {
  if (n == kWidth<float>) return store(p, v);
  for (Index k = 0; k < n; ++k) p[k].bits = v[k];
}
