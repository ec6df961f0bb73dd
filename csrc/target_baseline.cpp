// SPDX-License-Identifier: Apache-2.0
#include "denormals.h"
#include "kernels.h"

namespace unrolled::baseline {
namespace {
constexpr int kRegisters = 16, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/baseline.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#define UNROLLED_INT8 "simd/int8.h"
#include "target-inl.h"

bool supported() { return true; }
}  // namespace

extern const InstructionSet instruction_set{"baseline",     supported,       kVectorBytes, &kKernels<F32>,
                                            &kKernels<F64>, &kKernels<BF16>, &kInt8};
}  // namespace unrolled::baseline
