// SPDX-License-Identifier: Apache-2.0
// bfloat16 for instruction sets without units for it: widened to float.
#include "partial_bfloat16.h"

inline Vec<BFloat16> narrowed(Vec<float> v) {
  typedef std::uint32_t Unsigned __attribute__((vector_size(kVectorBytes)));
  const Unsigned all = (Unsigned)v, is_nan = (Unsigned)(v != v);
  const Unsigned rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;  // to nearest, ties to even
  return __builtin_convertvector((rounded & ~is_nan) | (is_nan & 0x7fc0), Vec<BFloat16>);
}

// sum + a b of both numbers in a lane, the upper ones first.
inline Vec<float> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<float> sum) {
  const auto upper = [](Vec<std::int32_t> pairs) {
    return (Vec<float>)(pairs & static_cast<std::int32_t>(0xffff0000));
  };
  const auto lower = [](Vec<std::int32_t> pairs) { return (Vec<float>)(pairs << 16); };
  return fma(lower(a), lower(b), fma(upper(a), upper(b), sum));
}
