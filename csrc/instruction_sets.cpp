// SPDX-License-Identifier: Apache-2.0
// The list of instruction sets: of the C library, in which the Python module finds the kernels of single steps.
#include "dispatch.h"

namespace unrolled {

#define UNROLLED_SET(isa)                      \
  namespace isa {                              \
  extern const InstructionSet instruction_set; \
  }
#include "instruction_sets.h"
#undef UNROLLED_SET

}  // namespace unrolled

const unrolled::InstructionSet* const* unrolled_instruction_sets() {
  using namespace unrolled;
  static constexpr const InstructionSet* sets[] = {
#define UNROLLED_SET(isa) &isa::instruction_set,
#include "instruction_sets.h"
#undef UNROLLED_SET
      nullptr};
  return sets;
}
