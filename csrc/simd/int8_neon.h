// SPDX-License-Identifier: Apache-2.0
// int8 on AArch64: with its units for scalar products (FEAT_DotProd) where they are compiled for, else by widening.

constexpr int kInt8Offset = 0;  // what rows are shifted by, so that the units can read them

// sum + a b of the four numbers in a lane.
inline Vec<std::int32_t> multiply_add(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> sum) {
#if defined(__ARM_FEATURE_DOTPROD)
  return (Vec<std::int32_t>)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b);
#else
  const int8x16_t x = (int8x16_t)a, y = (int8x16_t)b;
  const int32x4_t lower = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y)));
  const int32x4_t upper = vpaddlq_s16(vmull_high_s8(x, y));
  return sum + (Vec<std::int32_t>)vpaddq_s32(lower, upper);
#endif
}
