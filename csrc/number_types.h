// SPDX-License-Identifier: Apache-2.0
// Which kernels serve a call: those of the type of its numbers, by its name or by an array.
#pragma once
#include <string>
#include <string_view>

#include "dispatch.h"
#include "tensors.h"

namespace unrolled {

[[noreturn]] inline void refuse_type(const std::string& name) {
  throw nb::type_error(("the core computes in float32, float64 and bfloat16, not " + name).c_str());
}

// The type of the numbers of a call.
inline DLDataType number_type(std::string_view name) {
  for (const DLDataType type : {kFloat32, kFloat64, kBFloat16}) {
    if (name == type_name(type)) return type;
  }
  refuse_type(std::string(name));
}
inline DLDataType number_type(nb::dlpack::dtype dtype) {
  const DLDataType type{dtype.code, dtype.bits, dtype.lanes};
  if (type == kFloat32 || type == kFloat64 || type == kBFloat16) return type;
  refuse_type(type_name(type));
}
inline DLDataType number_type(DLDataType type) { return type; }  // any other type then does not fit
// A layer's is that of W_hh of its first direction: all others must match it.
inline DLDataType number_type(const Named<kWeightsFields>& weights) { return read_tensor(weights["W_hh"]).dtype; }

// Calls `body` with the kernels of one type.
template <class Type, class Body>
auto with_kernels(const Type& type, Body body) {
  const KernelSet& set = active_kernels();
  const DLDataType number = number_type(type);
  return number == kFloat64 ? body(*set.f64) : number == kBFloat16 ? body(*set.bf16) : body(*set.f32);
}

// The same with the kernels of single steps.
template <class Body>
auto with_steps(std::string_view dtype, Body body) {
  const InstructionSet& set = active_instruction_set();
  const DLDataType number = number_type(dtype);
  return number == kFloat64    ? body(*active_kernels().f64_steps)
         : number == kBFloat16 ? body(*set.bf16)
                               : body(*set.f32);
}

}  // namespace unrolled
