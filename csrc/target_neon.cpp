// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "denormals.h"
#include "kernels.h"

namespace unrolled::neon {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/neon.h"
#include "target-inl.h"

bool supported() { return true; }
}  // namespace

extern const InstructionSet instruction_set{"neon", supported, kVectorBytes, kKernels<F32>, kKernels<F64>};
}  // namespace unrolled::neon
