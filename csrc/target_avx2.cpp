// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::avx2 {
namespace {
constexpr int kRegisters = 16, kVectorBytes = 32;
#define UNROLLED_SIMD "simd/avx2.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#include "target-inl.h"

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
}  // namespace

extern const InstructionSet instruction_set{"avx2",         supported,      kVectorBytes,
                                            &kKernels<F32>, &kKernels<F64>, &kKernels<BF16>};
}  // namespace unrolled::avx2
