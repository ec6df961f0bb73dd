// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::avx512 {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 64;
#define UNROLLED_SIMD "simd/avx512.h"
#include "target-inl.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
}  // namespace

extern const InstructionSet instruction_set{"avx512", supported, kVectorBytes, kKernels<F32>, kKernels<F64>};
}  // namespace unrolled::avx512
