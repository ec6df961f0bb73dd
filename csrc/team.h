// SPDX-License-Identifier: Apache-2.0
// A team of threads inside one parallel region, and its barrier.  No STL: the kernel units include this file.
#pragma once
#include <cstdint>

namespace unrolled {

// Called while spinning: tells the core that this is a wait, and after long waits gives the core away (pool.cpp).
void spin_pause(std::uint32_t spins);

// A barrier for `size` threads that spins: a step of a small layer takes less time than a sleep and a wake.
struct Barrier {
  alignas(64) std::uint32_t arrived = 0;
  alignas(64) std::uint32_t round = 0;

  void wait(int size) {
    const std::uint32_t mine = __atomic_load_n(&round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&arrived, 1u, __ATOMIC_ACQ_REL) == static_cast<std::uint32_t>(size)) {
      __atomic_store_n(&arrived, 0u, __ATOMIC_RELAXED);
      __atomic_store_n(&round, mine + 1, __ATOMIC_RELEASE);
      return;
    }
    for (std::uint32_t spins = 0; __atomic_load_n(&round, __ATOMIC_ACQUIRE) == mine; ++spins) spin_pause(spins);
  }
};

struct Team {
  int id;
  int size;
  Barrier* barrier;

  void wait() const {
    if (size > 1) barrier->wait(size);
  }
};

}  // namespace unrolled
