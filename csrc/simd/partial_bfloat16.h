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
// n numbers in pairs.
inline Vec<std::int32_t> load_pairs_n(const BFloat16* p, Index n) {
  if (n == 2 * kWidth<float>) return load(reinterpret_cast<const std::int32_t*>(p));
  Vec<std::int32_t> v{};
  for (Index k = 0; k < n; ++k) v[k / 2] |= static_cast<std::int32_t>(std::uint32_t{p[k].bits} << (k % 2 * 16));
  return v;
}
