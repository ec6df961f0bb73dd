// SPDX-License-Identifier: Apache-2.0
// Arrays in memory of the workspace.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "workspace.h"

namespace unrolled {

// Uninitialised memory, which goes back when nobody holds it any longer.
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
    memory_ = std::make_shared<const Lease>(bytes);
  }

  Element* data() const { return static_cast<Element*>(memory_->data()); }
  std::size_t size() const { return size_; }
  const std::vector<std::size_t>& shape() const { return shape_; }
  const std::shared_ptr<const Lease>& memory() const { return memory_; }
  void clear() { std::fill_n(data(), size_, Element{}); }

 private:
  std::vector<std::size_t> shape_;
  std::size_t size_;
  std::shared_ptr<const Lease> memory_;
};

}  // namespace unrolled
