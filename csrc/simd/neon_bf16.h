// SPDX-License-Identifier: Apache-2.0
// bfloat16 with the units of AArch64 (FEAT_BF16).
#include "partial_bfloat16.h"

inline Vec<BFloat16> narrowed(Vec<float> v) { return (Vec<BFloat16>)vcvt_bf16_f32((float32x4_t)v); }

// sum + a b of both numbers in a lane.
inline Vec<float> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<float> sum) {
  return (Vec<float>)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
}
