// SPDX-License-Identifier: Apache-2.0
// AVX-512 with units for int8; all else is AVX-512's.
#include <immintrin.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::avx512 {
extern const InstructionSet instruction_set;
extern const StepKernels<float> f32_steps;
extern const StepKernels<double> f64_steps;
extern const StepKernels<BFloat16> bf16_steps;
extern const Kernels<float> f32;
extern const Kernels<double> f64;
extern const Kernels<BFloat16> bf16;
}  // namespace unrolled::avx512

namespace unrolled::avx512_vnni {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 64;
#define UNROLLED_SIMD "simd/avx512.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#define UNROLLED_INT8 "simd/int8_vnni.h"
#include "target-inl.h"

bool supported() { return avx512::instruction_set.supported() && __builtin_cpu_supports("avx512vnni"); }
}  // namespace

extern const StepKernels<float> int8_steps = kInt8;
extern const InstructionSet instruction_set{"avx512_vnni",      supported,           kVectorBytes,
                                            &avx512::f32_steps, &avx512::bf16_steps, &int8_steps};
extern const KernelSet kernel_set{&avx512::f32, &avx512::f64, &avx512::bf16, &avx512::f64_steps};
}  // namespace unrolled::avx512_vnni
