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

extern const StepKernels<float> f32_steps = kSteps<F32>;
extern const StepKernels<double> f64_steps = kSteps<F64>;
extern const StepKernels<BFloat16> bf16_steps = kSteps<BF16>;
extern const InstructionSet instruction_set{"baseline", supported, kVectorBytes, &f32_steps, &bf16_steps, &kInt8};

extern const Kernels<float> f32 = kKernels<F32>;
extern const Kernels<double> f64 = kKernels<F64>;
extern const Kernels<BFloat16> bf16 = kKernels<BF16>;
extern const KernelSet kernel_set{&f32, &f64, &bf16, &f64_steps};
}  // namespace unrolled::baseline
