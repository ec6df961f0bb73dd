// SPDX-License-Identifier: Apache-2.0
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unrolled {

void spin_pause(std::uint32_t spins) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
  // On a shared machine the awaited thread may have lost its core: after some microseconds, offer ours.
  if (spins % 1024 == 1023) sched_yield();
}

namespace {

// A worker spins this long for the next call before it parks: layers of a model call in quick succession.
constexpr std::uint32_t kSpinsBeforeParking = 4000;
constexpr std::uint64_t kSizes = 4096;  // more threads than a team ever has

class Pool {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: workers may outlive static destruction
    return *pool;
  }

  void run(int threads, Body body, void* context) {
    std::unique_lock<std::mutex> held(busy_, std::try_to_lock);
    if (threads >= static_cast<int>(kSizes)) threads = kSizes - 1;
    if (threads <= 1 || !held.owns_lock() || !grow(threads - 1)) {
      body(context, Team{0, 1, nullptr});
      return;
    }
    Barrier barrier;
    body_ = body;
    context_ = context;
    barrier_ = &barrier;
    running_.store(threads - 1, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(parking_);
      call_.store((call_.load() / kSizes + 1) * kSizes + threads, std::memory_order_release);
    }
    if (parked_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    body(context, Team{0, threads, &barrier});
    for (std::uint32_t spins = 0; running_.load(std::memory_order_acquire) > 0; ++spins) spin_pause(spins);
  }

  // A fork copies the memory but not the threads; the child starts with an empty pool.
  static void after_fork_in_child() { new (&instance()) Pool; }

 private:
  bool grow(int workers) {
    while (static_cast<int>(workers_.size()) < workers) {
      const int id = static_cast<int>(workers_.size()) + 1;
      try {
        workers_.emplace_back([this, id, seen = call_.load()] { work(id, seen); });
        workers_.back().detach();
      } catch (const std::system_error&) {
        return false;
      }
    }
    return true;
  }

  void work(int id, std::uint64_t seen) {
    for (;;) {
      await_call(seen);
      seen = call_.load(std::memory_order_acquire);
      const int size = static_cast<int>(seen % kSizes);
      if (id < size) {  // the fields stand still until every member has finished; others must not read them
        body_(context_, Team{id, size, barrier_});
        running_.fetch_sub(1, std::memory_order_acq_rel);
      }
    }
  }

  void await_call(std::uint64_t seen) {
    for (std::uint32_t spins = 0; spins < kSpinsBeforeParking; ++spins) {
      if (call_.load(std::memory_order_acquire) != seen) return;
      spin_pause(spins);
    }
    std::unique_lock<std::mutex> lock(parking_);
    parked_.fetch_add(1, std::memory_order_acq_rel);
    wake_.wait(lock, [&] { return call_.load(std::memory_order_acquire) != seen; });
    parked_.fetch_sub(1, std::memory_order_acq_rel);
  }

  std::mutex busy_, parking_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  std::atomic<std::uint64_t> call_{0};  // number of the call * kSizes + its team size
  std::atomic<int> running_{0}, parked_{0};
  Body body_ = nullptr;
  void* context_ = nullptr;
  Barrier* barrier_ = nullptr;
};

const int registered = pthread_atfork(nullptr, nullptr, Pool::after_fork_in_child);

}  // namespace

void run_team(int threads, Body body, void* context) { Pool::instance().run(threads, body, context); }

int default_threads() {
  if (const char* wanted = std::getenv("UNROLLED_NUM_THREADS")) {
    const int n = std::atoi(wanted);
    if (n > 0) return n;
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return 1;
}

}  // namespace unrolled
