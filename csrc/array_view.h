// SPDX-License-Identifier: Apache-2.0
// Arrays of the core as Python sees them.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "arrays.h"
#include "leased_array.h"

template <>
struct nanobind::detail::dtype_traits<unrolled::BFloat16> {
  static constexpr dlpack::dtype value{unrolled::kBFloat16.code, unrolled::kBFloat16.bits, unrolled::kBFloat16.lanes};
  static constexpr auto name = const_name("bfloat16");
};

namespace unrolled {

namespace nb = nanobind;

// A view, of nb::numpy or nb::pytorch, which holds the memory: no view can free it or move it.
template <class Library, class Element>
nb::object view_of(const LeasedArray<Element>& array) {
  using Memory = std::shared_ptr<const Lease>;
  const nb::capsule owner(new Memory(array.memory()), [](void* p) noexcept { delete static_cast<Memory*>(p); });
  return nb::object(
      nb::ndarray<Library, Element, nb::device::cpu>(array.data(), array.shape().size(), array.shape().data(), owner)
          .cast());
}

}  // namespace unrolled
