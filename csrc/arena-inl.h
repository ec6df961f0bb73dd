// SPDX-License-Identifier: Apache-2.0
// Hands out pieces of the caller's scratch.  With a null base it only counts: scratch_bytes runs the same code.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}

  template <class Element>
  Element* take(Index n) {
    const std::size_t bytes = (static_cast<std::size_t>(n > 0 ? n : 0) * sizeof(Element) + 63) / 64 * 64;
    Element* piece = base_ ? reinterpret_cast<Element*>(base_ + used_) : nullptr;
    used_ += bytes;
    return piece;
  }
  // A piece of n elements for each pointer.
  template <class... Element>
  void take(Index n, Element*&... pieces) {
    ((pieces = take<Element>(n)), ...);
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};
