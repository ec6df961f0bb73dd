// SPDX-License-Identifier: Apache-2.0
// Scratch memory kept between calls: touching fresh pages costs more than the arithmetic of a small layer.  No
// more is kept than recent calls needed at once: what one large call took goes back after some hundred small ones.
#pragma once
#include <cstddef>
#include <cstdio>
#include <new>

namespace unrolled {

class NoMemory : public std::bad_alloc {
 public:
  explicit NoMemory(std::size_t bytes) {
    std::snprintf(words_, sizeof words_, "no memory for %zu bytes or more; use fewer rows, steps or units", bytes);
  }
  const char* what() const noexcept override { return words_; }

 private:
  char words_[96];
};

// A block of at least `bytes`, 64-byte aligned, uninitialised.  Goes back to the cache at the end of its scope.
class Lease {
 public:
  explicit Lease(std::size_t bytes);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
  std::size_t bytes_;
};

// Frees the cached blocks.
void release_workspace();

// How much is leased and cached.
std::size_t workspace_bytes();

}  // namespace unrolled
