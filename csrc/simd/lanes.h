// SPDX-License-Identifier: Apache-2.0
// How the caller's numbers enter the products: a lane holds one float or double, or neighbours in the sum over k that
// the processor multiplies and adds at once: two bfloat16 or four int8.  A last lane is padded with zeros.

template <class Storage>
struct LaneOf {
  using type = Storage;
};
template <>
struct LaneOf<BFloat16> {
  using type = std::int32_t;
};
template <>
struct LaneOf<std::int8_t> {
  using type = std::int32_t;
};
template <class Storage>
using Lane = typename LaneOf<Storage>::type;

// Numbers of k in a lane, and the lanes of n numbers.
template <class Storage>
constexpr Index kDepth = sizeof(Lane<Storage>) / sizeof(Storage);
template <class Storage>
constexpr Index lanes_of(Index n) {
  return (n + kDepth<Storage> - 1) / kDepth<Storage>;
}

// One lane, from a number and its neighbours; the last lane of a sum that does not fill it (rows of int8 have room).
template <class Storage>
inline Lane<Storage> lane(const Storage* p) {
  Lane<Storage> both;
  __builtin_memcpy(&both, p, sizeof both);
  return both;
}
template <class Storage>
inline Lane<Storage> last_lane(const Storage* p) {
  if constexpr (kDepth<Storage> == 1) return *p;
  if constexpr (kDepth<Storage> == 2) return p->bits;
  if constexpr (kDepth<Storage> == 4) return lane(p);
}

// One lane that has n numbers, or more.
template <class Storage>
inline Lane<Storage> lane_n(const Storage* p, Index n) {
  if (n >= kDepth<Storage>) return lane(p);
  if constexpr (kDepth<Storage> < 4) return last_lane(p);
  Lane<Storage> some{};
  __builtin_memcpy(&some, p, static_cast<std::size_t>(n));
  return some;
}

// The lanes of n columns, each of two numbers in rows that follow each other in k; `next` may be null.
template <class Storage>
inline Vec<Lane<Storage>> lanes_across(const Storage* row, const Storage* next, Index n) {
  if constexpr (kDepth<Storage> == 1) return n == kWidth<Storage> ? load(row) : load_n(row, n);
  if constexpr (kDepth<Storage> == 2) {
    using Pairs = Vec<std::int32_t>;
    const auto wide = [n](const BFloat16* p) {
      return __builtin_convertvector(n == kWidth<float> ? load(p) : load_n(p, n), Pairs);
    };
    return next ? wide(row) | wide(next) << 16 : wide(row);
  }
}

inline Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> sum) { return fma(a, b, sum); }
inline Vec<double> multiply_add(Vec<double> a, Vec<double> b, Vec<double> sum) { return fma(a, b, sum); }

inline Vec<float> widened(Vec<BFloat16> v) { return (Vec<float>)(__builtin_convertvector(v, Bits<float>) << 16); }
