// SPDX-License-Identifier: Apache-2.0
// The kernels of whole calls, of the instruction set in use.
#include "dispatch.h"

namespace unrolled {

#define UNROLLED_DECLARE(isa)                  \
  namespace isa {                              \
  extern const InstructionSet instruction_set; \
  extern const KernelSet kernel_set;           \
  }
UNROLLED_DECLARE(avx512_bf16)
UNROLLED_DECLARE(avx512_vnni)
UNROLLED_DECLARE(avx512)
UNROLLED_DECLARE(avx2_vnni)
UNROLLED_DECLARE(avx2)
UNROLLED_DECLARE(neon_bf16)
UNROLLED_DECLARE(neon)
UNROLLED_DECLARE(baseline)
#undef UNROLLED_DECLARE

const KernelSet& active_kernels() {
  const InstructionSet* active = &active_instruction_set();
#ifdef UNROLLED_HAS_AVX512_BF16
  if (active == &avx512_bf16::instruction_set) return avx512_bf16::kernel_set;
#endif
#ifdef UNROLLED_HAS_AVX512_VNNI
  if (active == &avx512_vnni::instruction_set) return avx512_vnni::kernel_set;
#endif
#ifdef UNROLLED_HAS_AVX512
  if (active == &avx512::instruction_set) return avx512::kernel_set;
#endif
#ifdef UNROLLED_HAS_AVX2_VNNI
  if (active == &avx2_vnni::instruction_set) return avx2_vnni::kernel_set;
#endif
#ifdef UNROLLED_HAS_AVX2
  if (active == &avx2::instruction_set) return avx2::kernel_set;
#endif
#ifdef UNROLLED_HAS_NEON_BF16
  if (active == &neon_bf16::instruction_set) return neon_bf16::kernel_set;
#endif
#ifdef UNROLLED_HAS_NEON
  if (active == &neon::instruction_set) return neon::kernel_set;
#endif
  return baseline::kernel_set;
}

}  // namespace unrolled
