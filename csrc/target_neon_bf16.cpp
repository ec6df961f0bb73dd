// SPDX-License-Identifier: Apache-2.0
// AArch64 with units for bfloat16 and scalar products of int8; float and double are NEON's.
#include <arm_neon.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#else
#include <sys/auxv.h>
#endif

#include "denormals.h"
#include "kernels.h"

namespace unrolled::neon {
extern const InstructionSet instruction_set;
extern const StepKernels<float> f32_steps;
extern const StepKernels<double> f64_steps;
extern const Kernels<float> f32;
extern const Kernels<double> f64;
}  // namespace unrolled::neon

namespace unrolled::neon_bf16 {
namespace {
constexpr int kRegisters = 32, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/neon.h"
#define UNROLLED_BFLOAT16 "simd/neon_bf16.h"
#define UNROLLED_INT8 "simd/int8_neon.h"
#include "target-inl.h"

bool supported() {
#ifdef __APPLE__
  int has_bf16 = 0;
  std::size_t size = sizeof has_bf16;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &has_bf16, &size, nullptr, 0) == 0 && has_bf16;
#else
  constexpr unsigned long has_bf16 = 1ul << 14;  // HWCAP2_BF16
  return getauxval(AT_HWCAP2) & has_bf16;
#endif
}
}  // namespace

extern const StepKernels<float> int8_steps = kInt8;
extern const InstructionSet instruction_set{"neon_bf16",      supported,     kVectorBytes,
                                            &neon::f32_steps, &kSteps<BF16>, &int8_steps};
extern const KernelSet kernel_set{&neon::f32, &neon::f64, &kKernels<BF16>, &neon::f64_steps};
}  // namespace unrolled::neon_bf16
