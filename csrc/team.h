// SPDX-License-Identifier: Apache-2.0
// A team of threads inside one parallel region, and its barrier.  No STL: the kernel units include this file.
#pragma once
#include <cstdint>

namespace unrolled {

// Waiting (threads.cpp): spin for some microseconds, then sleep.  A thread that only spins can hold the core that the
// awaited thread needs, and on a busy machine it does: the scheduler then takes milliseconds to switch them.
void wait_while_equal(const std::uint32_t* word, std::uint32_t value);
void wake_waiters(const std::uint32_t* word);

// Both waits are always inline: a kernel unit exports no function that another unit may share (docs/kernels.md, "ODR").

// A barrier of the threads of a team: a step of a small layer takes less time than a sleep and a wake.
struct Barrier {
  alignas(64) std::uint32_t arrived = 0;
  alignas(64) std::uint32_t round = 0;

  [[gnu::always_inline]] void wait(int size) {
    const std::uint32_t mine = __atomic_load_n(&round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&arrived, 1u, __ATOMIC_ACQ_REL) == static_cast<std::uint32_t>(size)) {
      __atomic_store_n(&arrived, 0u, __ATOMIC_RELAXED);
      __atomic_store_n(&round, mine + 1, __ATOMIC_RELEASE);
      wake_waiters(&round);
    } else {
      wait_while_equal(&round, mine);
    }
  }
};

struct Team {
  int id;
  int size;
  Barrier* barrier;

  [[gnu::always_inline]] void wait() const {
    if (size > 1) barrier->wait(size);
  }
};

}  // namespace unrolled
