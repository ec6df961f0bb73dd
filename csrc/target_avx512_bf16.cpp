// SPDX-License-Identifier: Apache-2.0
// AVX-512 with units for bfloat16 and int8; float and double are AVX-512's.
#include <immintrin.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::avx512 {
extern const InstructionSet instruction_set;
extern const StepKernels<float> f32_steps;
extern const StepKernels<double> f64_steps;
extern const Kernels<float> f32;
extern const Kernels<double> f64;
}  // namespace unrolled::avx512
namespace unrolled::avx512_vnni {
extern const InstructionSet instruction_set;
extern const StepKernels<float> int8_steps;
}  // namespace unrolled::avx512_vnni

namespace unrolled::avx512_bf16 {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 64;
#define UNROLLED_SIMD "simd/avx512.h"
#define UNROLLED_BFLOAT16 "simd/avx512_bf16.h"
#define UNROLLED_INT8 "simd/int8_vnni.h"
#include "target-inl.h"

bool supported() { return avx512_vnni::instruction_set.supported() && __builtin_cpu_supports("avx512bf16"); }
}  // namespace

extern const InstructionSet instruction_set{"avx512_bf16",      supported,     kVectorBytes,
                                            &avx512::f32_steps, &kSteps<BF16>, &avx512_vnni::int8_steps};
extern const KernelSet kernel_set{&avx512::f32, &avx512::f64, &kKernels<BF16>, &avx512::f64_steps};
}  // namespace unrolled::avx512_bf16
