// SPDX-License-Identifier: Apache-2.0
// The kernels of whole calls, of the instruction set in use.
#include <stdexcept>

#include "dispatch.h"

namespace unrolled {

#define UNROLLED_SET(isa)                      \
  namespace isa {                              \
  extern const InstructionSet instruction_set; \
  extern const KernelSet kernel_set;           \
  }
#include "instruction_sets.h"
#undef UNROLLED_SET

const KernelSet& active_kernels() {
  const InstructionSet* active = &active_instruction_set();
#define UNROLLED_SET(isa) \
  if (active == &isa::instruction_set) return isa::kernel_set;
#include "instruction_sets.h"
#undef UNROLLED_SET
  throw std::logic_error("the instruction set in use has no kernels");
}

}  // namespace unrolled
