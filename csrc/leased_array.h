// SPDX-License-Identifier: Apache-2.0
// Arrays that the core makes for Python, in memory of the workspace.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "workspace.h"

namespace unrolled {

namespace nb = nanobind;

// Uninitialised memory, which goes back when this and every view of it are gone.  No view can free it or move it.
template <class Element>
class LeasedArray {
 public:
  explicit LeasedArray(std::vector<std::size_t> shape) : shape_(std::move(shape)) {
    std::size_t bytes = sizeof(Element);
    for (const std::size_t axis : shape_) {  // strides may not overflow either, so an empty axis does not hide another
      if (__builtin_mul_overflow(bytes, std::max<std::size_t>(axis, 1), &bytes) || bytes > PTRDIFF_MAX)
        throw NoMemory(PTRDIFF_MAX);
    }
    if (std::find(shape_.begin(), shape_.end(), 0u) != shape_.end()) bytes = 0;
    size_ = bytes / sizeof(Element);
    auto* lease = new Lease(bytes);
    data_ = static_cast<Element*>(lease->data());
    owner_ = nb::capsule(lease, [](void* p) noexcept { delete static_cast<Lease*>(p); });
  }

  Element* data() const { return data_; }
  void clear() { std::fill_n(data_, size_, Element{}); }

  // A view of it, of nb::numpy or nb::pytorch.
  template <class Library>
  nb::object as() const {
    return nb::object(
        nb::ndarray<Library, Element, nb::device::cpu>(data_, shape_.size(), shape_.data(), owner_).cast());
  }

 private:
  std::vector<std::size_t> shape_;
  std::size_t size_;
  Element* data_;
  nb::capsule owner_;
};

}  // namespace unrolled
