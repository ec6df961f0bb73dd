// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::neon {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/neon.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#define UNROLLED_INT8 "simd/int8_neon.h"
#include "target-inl.h"

bool supported() { return true; }
}  // namespace

extern const Kernels<float> f32 = kKernels<F32>;
extern const Kernels<double> f64 = kKernels<F64>;
extern const Kernels<BFloat16> bf16 = kKernels<BF16>;
extern const InstructionSet instruction_set{"neon", supported, kVectorBytes, &f32, &f64, &bf16, &kInt8};
}  // namespace unrolled::neon
