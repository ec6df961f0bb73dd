// SPDX-License-Identifier: Apache-2.0
// bfloat16: the upper half of a float.
#pragma once
#include <cstdint>

namespace unrolled {

// Inlined always: instruction sets must not share a compiled copy (docs/kernels.md, "ODR").
struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  // Rounded to nearest, ties to even; a NaN stays one.
  [[gnu::always_inline]] explicit BFloat16(float value) {
    const std::uint32_t all = __builtin_bit_cast(std::uint32_t, value);
    const bool is_nan = (all & 0x7fffffff) > 0x7f800000;
    bits = static_cast<std::uint16_t>(is_nan ? 0x7fc0 : (all + 0x7fff + (all >> 16 & 1)) >> 16);
  }
  [[gnu::always_inline]] explicit operator float() const {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }
  [[gnu::always_inline]] BFloat16 operator-() const {
    BFloat16 negated;
    negated.bits = bits ^ 0x8000;
    return negated;
  }
};

}  // namespace unrolled
