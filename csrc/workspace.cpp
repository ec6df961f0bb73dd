// SPDX-License-Identifier: Apache-2.0
#include "workspace.h"

#include <pthread.h>
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

// At most so much is cached: the scratch of a few calls, and what a model of some layers saves for backward.
constexpr std::size_t kKeptBlocks = 16;
constexpr std::size_t kKeptBytes = std::size_t{1} << 30;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::mutex& mutex() {
  static std::mutex* m = new std::mutex;
  return *m;
}
std::vector<Block>& cache() {
  static auto* blocks = new std::vector<Block>;
  return *blocks;
}

// A fork may come while another thread holds the mutex; the child starts with a free one and an empty cache.
void after_fork_in_child() {
  new (&mutex()) std::mutex;
  new (&cache()) std::vector<Block>;
}
const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);

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
    auto fits = blocks.end();  // the smallest that is large enough, and not twice too large
    for (auto it = blocks.begin(); it != blocks.end(); ++it) {
      if (it->bytes >= bytes && it->bytes / 2 <= bytes + kHugePage && (fits == blocks.end() || it->bytes < fits->bytes))
        fits = it;
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
  std::vector<Block> spare;
  {
    std::lock_guard<std::mutex> lock(mutex());
    auto& blocks = cache();
    blocks.push_back({data_, bytes_});
    std::size_t total = 0;
    for (const Block& block : blocks) total += block.bytes;
    while (blocks.size() > kKeptBlocks || total > kKeptBytes) {  // the oldest first
      spare.push_back(blocks.front());
      total -= blocks.front().bytes;
      blocks.erase(blocks.begin());
    }
  }
  for (const Block& block : spare) std::free(block.data);
}

void release_workspace() {
  std::vector<Block> spare;
  {
    std::lock_guard<std::mutex> lock(mutex());
    spare.swap(cache());
  }
  for (const Block& block : spare) std::free(block.data);
}

}  // namespace unrolled
