// SPDX-License-Identifier: Apache-2.0
// Which instruction set runs.  A new one: simd/NAME.h, target_NAME.cpp, a line each in instruction_sets.h and
// CMakeLists.txt.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"

// Those compiled in, best first, ending in a null.  The C library has the list (instruction_sets.cpp), and it is
// all that the Python module takes from there: the kernels of single steps are in a wheel once.
extern "C" [[gnu::visibility("default")]] const unrolled::InstructionSet* const* unrolled_instruction_sets();

namespace unrolled {

// Those compiled in, best first.
const std::vector<const InstructionSet*>& compiled_instruction_sets();

// Those of them that this processor has, best first: baseline at least.
const std::vector<const InstructionSet*>& supported_instruction_sets();

// The one in use: UNROLLED_ISA, or the best that this processor has.  Throws std::invalid_argument, naming the legal
// ones, if UNROLLED_ISA is not one of them.
const InstructionSet& active_instruction_set();

// The kernels of whole calls of the one in use.
const KernelSet& active_kernels();

// Chooses one by name from now on, for the tests that force each in turn.
void force_instruction_set(const std::string& name);

}  // namespace unrolled
