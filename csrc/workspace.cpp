// SPDX-License-Identifier: Apache-2.0
#include "workspace.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace unrolled {
namespace {

struct Block {
  void* data;
  std::size_t bytes;
};

// The most that is cached, whatever is needed: the scratch of a few calls, and what a model of some layers saves for
// backward.
constexpr std::size_t kKeptBlocks = 16;
constexpr std::size_t kKeptBytes = std::size_t{1} << 30;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// What is leased, and what is cached for later leases: together little more than was leased at once lately.
struct Cache {
  std::mutex mutex;
  std::vector<Block> blocks;  // the oldest first
  std::size_t cached = 0, leased = 0;

  // A cached block for a lease of this many bytes, null if there is none.
  Block take(std::size_t bytes) {
    auto fits = blocks.end();  // the smallest that is large enough, and not twice too large
    for (auto it = blocks.begin(); it != blocks.end(); ++it) {
      if (it->bytes >= bytes && it->bytes / 2 <= bytes + kHugePage && (fits == blocks.end() || it->bytes < fits->bytes))
        fits = it;
    }
    if (fits == blocks.end()) return {nullptr, 0};
    const Block block = *fits;
    blocks.erase(fits);
    cached -= block.bytes;
    return block;
  }

  void count(std::size_t bytes) {
    if (++leases_ % kWindow == 0) before_ = most_, most_ = leased;
    leased += bytes;
    most_ = std::max(most_, leased);
  }

  void put(const Block& block) {
    blocks.push_back(block);
    cached += block.bytes;
    leased -= block.bytes;
  }

  // Takes out what is beyond the bounds.
  std::vector<Block> spare() {
    const std::size_t most = std::max(most_, before_);
    const std::size_t needed = most + most / 4 + kHugePage;  // so that a small lease does not push a large block out
    std::vector<Block> found;
    while (!blocks.empty() && (blocks.size() > kKeptBlocks || cached > kKeptBytes || cached + leased > needed)) {
      found.push_back(blocks.front());
      cached -= blocks.front().bytes;
      blocks.erase(blocks.begin());
    }
    return found;
  }

 private:
  static constexpr std::size_t kWindow = 128;       // leases: a training step of a dozen layers
  std::size_t leases_ = 0, most_ = 0, before_ = 0;  // most leased at once in this window and in the one before
};

Cache& cache() {
  static auto* it = new Cache;
  return *it;
}

// A fork may come while another thread holds the mutex; the child starts with a free one and an empty cache.
void after_fork_in_child() { new (&cache()) Cache; }
const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);

void free_all(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) std::free(block.data);
}

Block fresh(std::size_t bytes) {
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t unit = large ? kHugePage : 4096;
  bytes = (bytes + unit - 1) / unit * unit;
  void* data = std::aligned_alloc(large ? kHugePage : 64, bytes);
  if (!data) throw NoMemory(bytes);
#ifdef MADV_HUGEPAGE
  if (large) madvise(data, bytes, MADV_HUGEPAGE);  // fewer misses of the address cache; only a hint
#endif
  return {data, bytes};
}

}  // namespace

Lease::Lease(std::size_t bytes) {
  Cache& all = cache();
  Block block;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    block = all.take(bytes);
    if (block.data) all.count(block.bytes);
  }
  if (!block.data) {
    block = fresh(std::max<std::size_t>(bytes, 4096));
    std::lock_guard<std::mutex> lock(all.mutex);
    all.count(block.bytes);
  }
  data_ = block.data;
  bytes_ = block.bytes;
}

Lease::~Lease() {
  Cache& all = cache();
  std::vector<Block> spare;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.put({data_, bytes_});
    spare = all.spare();
  }
  free_all(spare);
}

void release_workspace() {
  Cache& all = cache();
  std::vector<Block> spare;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    spare.swap(all.blocks);
    all.cached = 0;
  }
  free_all(spare);
}

std::size_t workspace_bytes() {
  std::lock_guard<std::mutex> lock(cache().mutex);
  return cache().cached + cache().leased;
}

}  // namespace unrolled
