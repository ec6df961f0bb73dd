// SPDX-License-Identifier: Apache-2.0
// The kernels of whole calls, of the instruction set in use.
#include <algorithm>

#include "dispatch.h"

namespace unrolled {

#define UNROLLED_SET(isa)            \
  namespace isa {                    \
  extern const KernelSet kernel_set; \
  }
#include "instruction_sets.h"
#undef UNROLLED_SET

const KernelSet& active_kernels() {
  static constexpr const KernelSet* kernels[] = {
#define UNROLLED_SET(isa) &isa::kernel_set,
#include "instruction_sets.h"
#undef UNROLLED_SET
  };
  const auto& sets = compiled_instruction_sets();
  return *kernels[std::find(sets.begin(), sets.end(), &active_instruction_set()) - sets.begin()];
}

}  // namespace unrolled
