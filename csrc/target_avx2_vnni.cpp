// SPDX-License-Identifier: Apache-2.0
// AVX2 with units for int8; all else is AVX2's.
#include <cpuid.h>
#include <immintrin.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::avx2 {
extern const InstructionSet instruction_set;
extern const StepKernels<float> f32_steps;
extern const StepKernels<double> f64_steps;
extern const StepKernels<BFloat16> bf16_steps;
extern const Kernels<float> f32;
extern const Kernels<double> f64;
extern const Kernels<BFloat16> bf16;
}  // namespace unrolled::avx2

namespace unrolled::avx2_vnni {
namespace {
constexpr int kRegisters = 16, kVectorBytes = 32;
#define UNROLLED_SIMD "simd/avx2.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#define UNROLLED_INT8 "simd/int8_vnni.h"
#include "target-inl.h"

bool has_vnni() {  // which not every compiler's __builtin_cpu_supports knows
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && eax >> 4 & 1;
}
bool supported() { return avx2::instruction_set.supported() && has_vnni(); }
}  // namespace

extern const StepKernels<float> int8_steps = kInt8;
extern const InstructionSet instruction_set{"avx2_vnni",      supported,         kVectorBytes,
                                            &avx2::f32_steps, &avx2::bf16_steps, &int8_steps};
extern const KernelSet kernel_set{&avx2::f32, &avx2::f64, &avx2::bf16, &avx2::f64_steps};
}  // namespace unrolled::avx2_vnni
