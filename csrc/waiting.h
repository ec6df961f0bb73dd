// SPDX-License-Identifier: Apache-2.0
// How a thread waits for another one.
#pragma once
#include <sched.h>

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unrolled {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits a little, longer the more often it was called.  A thread that only spins can hold the core that the awaited
// thread needs; one that yields gives it up if, and only if, somebody wants it.
class Patience {
 public:
  void wait() {
    if (++rounds_ < kSpins) return pause();
    sched_yield();
    for (int k = 0; k < 16; ++k) pause();
  }

 private:
  static constexpr int kSpins = 64;  // about a microsecond
  int rounds_ = 0;
};

// Whether a thread has been idle long enough that it should sleep.  The clock is asked at every 64th look.
class Idleness {
 public:
  bool at_its_end() {
    if (++looks_ % 64 != 0) return false;
    if (looks_ == 64) began_ = Clock::now();
    return Clock::now() - began_ > kIdle;
  }

 private:
  using Clock = std::chrono::steady_clock;
  // The layers of a model call in quick succession, and a step of a call is much shorter.
  static constexpr auto kIdle = std::chrono::microseconds(100);
  int looks_ = 0;
  Clock::time_point began_;
};

}  // namespace unrolled
