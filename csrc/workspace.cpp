// SPDX-License-Identifier: Apache-2.0
#include "workspace.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace unrolled {
namespace {

struct Block {
  void* data;
  std::size_t bytes;
};

// At most this many blocks wait: one for each thread that calls at the same time, on usual machines.
constexpr std::size_t kKept = 4;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::mutex& mutex() {
  static std::mutex* m = new std::mutex;
  return *m;
}
std::vector<Block>& cache() {
  static auto* blocks = new std::vector<Block>;
  return *blocks;
}

Block fresh(std::size_t bytes) {
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t unit = large ? kHugePage : 4096;
  bytes = (bytes + unit - 1) / unit * unit;
  void* data = std::aligned_alloc(large ? kHugePage : 64, bytes);
  if (!data) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (large) madvise(data, bytes, MADV_HUGEPAGE);  // fewer misses of the address cache; only a hint
#endif
  return {data, bytes};
}

}  // namespace

Lease::Lease(std::size_t bytes) {
  Block block{nullptr, 0};
  {
    std::lock_guard<std::mutex> lock(mutex());
    auto& blocks = cache();
    auto fits = blocks.end();  // the smallest that is large enough
    for (auto it = blocks.begin(); it != blocks.end(); ++it) {
      if (it->bytes >= bytes && (fits == blocks.end() || it->bytes < fits->bytes)) fits = it;
    }
    if (fits != blocks.end()) {
      block = *fits;
      blocks.erase(fits);
    }
  }
  if (!block.data) block = fresh(std::max<std::size_t>(bytes, 4096));
  data_ = block.data;
  bytes_ = block.bytes;
}

Lease::~Lease() {
  void* spare = data_;
  {
    std::lock_guard<std::mutex> lock(mutex());
    auto& blocks = cache();
    blocks.push_back({data_, bytes_});
    spare = nullptr;
    if (blocks.size() > kKept) {  // drop the smallest
      const auto least = std::min_element(blocks.begin(), blocks.end(),
                                          [](const Block& a, const Block& b) { return a.bytes < b.bytes; });
      spare = least->data;
      blocks.erase(least);
    }
  }
  std::free(spare);
}

}  // namespace unrolled
