// SPDX-License-Identifier: Apache-2.0
#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unrolled {

namespace {

// About ten microseconds: longer than a step of most layers, much shorter than a time slice.
constexpr std::uint32_t kSpins = 400;
// A worker spins longer for the next call before it sleeps: the layers of a model call in quick succession.
constexpr std::uint32_t kSpinsForCall = 2000;
constexpr std::uint64_t kSizes = 4096;  // more threads than a team ever has

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::atomic_ref<std::uint32_t> atomic(const std::uint32_t* word) {
  return std::atomic_ref<std::uint32_t>(*const_cast<std::uint32_t*>(word));
}

}  // namespace

void wait_while_equal(const std::uint32_t* word, std::uint32_t value) {
  const auto shared = atomic(word);
  for (std::uint32_t spins = 0; spins < kSpins; ++spins) {
    if (shared.load(std::memory_order_acquire) != value) return;
    pause();
  }
  shared.wait(value, std::memory_order_acquire);
}

void wake_waiters(const std::uint32_t* word) { atomic(word).notify_all(); }

namespace {

class Pool {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: workers may outlive static destruction
    return *pool;
  }

  void run(int threads, Body body, void* context) {
    std::unique_lock<std::mutex> held(busy_, std::try_to_lock);
    if (threads <= 1 || threads >= static_cast<int>(kSizes) || !held.owns_lock() || !grow(threads - 1)) {
      body(context, Team{0, 1, nullptr});
      return;
    }
    Barrier barrier;
    body_ = body;
    context_ = context;
    barrier_ = &barrier;
    __atomic_store_n(&running_, static_cast<std::uint32_t>(threads - 1), __ATOMIC_RELAXED);
    {
      std::lock_guard<std::mutex> lock(parking_);
      call_.store((call_.load() / kSizes + 1) * kSizes + threads, std::memory_order_release);
    }
    if (parked_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    body(context, Team{0, threads, &barrier});
    for (std::uint32_t left; (left = __atomic_load_n(&running_, __ATOMIC_ACQUIRE)) > 0;)
      wait_while_equal(&running_, left);
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
      if (id < size) {  // the fields do not change until every member has finished; other workers must not read them
        body_(context_, Team{id, size, barrier_});
        if (__atomic_sub_fetch(&running_, 1u, __ATOMIC_ACQ_REL) == 0) wake_waiters(&running_);
      }
    }
  }

  void await_call(std::uint64_t seen) {
    for (std::uint32_t spins = 0; spins < kSpinsForCall; ++spins) {
      if (call_.load(std::memory_order_acquire) != seen) return;
      pause();
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
  std::atomic<int> parked_{0};
  alignas(64) std::uint32_t running_ = 0;  // members that have not finished
  Body body_ = nullptr;
  void* context_ = nullptr;
  Barrier* barrier_ = nullptr;
};

// OpenMP's threads, where the process has them already (torch brings libgomp).  After a parallel region they spin for
// milliseconds, waiting for the next one, on the cores that a second pool would need, so we share them.  Found by name:
// nothing here depends on OpenMP.  See docs/decisions/0004-threads.md.
struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags);
  int (*id)();
  int (*size)();

  static const OpenMp* find() {
    const char* wanted = std::getenv("UNROLLED_POOL");
    if (wanted && *wanted) {
      if (std::string_view(wanted) == "own") return nullptr;
      throw std::invalid_argument(std::string("UNROLLED_POOL is '") + wanted + "', expected 'own' or nothing");
    }
    void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return nullptr;
    static OpenMp found;
    found.parallel = reinterpret_cast<decltype(found.parallel)>(dlsym(library, "GOMP_parallel"));
    found.id = reinterpret_cast<decltype(found.id)>(dlsym(library, "omp_get_thread_num"));
    found.size = reinterpret_cast<decltype(found.size)>(dlsym(library, "omp_get_num_threads"));
    return found.parallel && found.id && found.size ? &found : nullptr;
  }

  void run(int threads, Body body, void* context) const {
    struct Region {
      const OpenMp* self;
      int threads;
      Body body;
      void* context;
      Barrier barrier;
    } region{this, threads, body, context, {}};
    parallel(
        [](void* data) {
          Region& r = *static_cast<Region*>(data);
          const int id = r.self->id();
          if (r.self->size() == r.threads) {
            r.body(r.context, Team{id, r.threads, &r.barrier});
          } else if (id == 0) {  // OpenMP gave fewer; scratch is laid for the whole team or for one
            r.body(r.context, Team{0, 1, nullptr});
          }
        },
        &region, static_cast<unsigned>(threads), 0);
  }
};

// libgomp does not survive a fork; our own pool does.
bool forked = false;

void after_fork_in_child() {
  forked = true;
  Pool::after_fork_in_child();
}

const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);

}  // namespace

void run_team(int threads, Body body, void* context) {
  if (threads > 1 && !forked) {
    static const OpenMp* const openmp = OpenMp::find();
    if (openmp) return openmp->run(threads, body, context);
  }
  Pool::instance().run(threads, body, context);
}

int threads_from_environment() {
  static const int threads = [] {
    const char* wanted = std::getenv("UNROLLED_NUM_THREADS");
    if (!wanted || !*wanted) return 0;
    char* end = nullptr;
    const long n = std::strtol(wanted, &end, 10);
    if (*end || n < 1 || n >= static_cast<long>(kSizes)) {
      throw std::invalid_argument(std::string("UNROLLED_NUM_THREADS is '") + wanted +
                                  "', expected a whole number from 1 to " + std::to_string(kSizes - 1));
    }
    return static_cast<int>(n);
  }();
  return threads;
}

int default_threads() {
  if (const int threads = threads_from_environment()) return threads;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));  // more processors than the set can name
}

int useful_threads(double multiply_adds, int allowed) {
  // Waking a second thread costs some microseconds; below this many multiply-adds one thread is done sooner.
  constexpr double worth_waking = 2e6;
  return multiply_adds < worth_waking ? 1 : allowed;
}

template <class Real>
int useful_threads(const Call<Real>& call, int allowed) {
  const double per_row = static_cast<double>(gate_count(call.cell)) * call.H * (call.I + call.P);
  if (useful_threads(per_row * call.recurrences * call.B * call.T, allowed) == 1) return 1;
  // With few rows the threads wait for each other once per step; a step must take longer than that barrier.
  constexpr double worth_a_barrier = 1e5;
  if (call.recurrences * call.B < allowed && per_row * call.B < worth_a_barrier)
    return static_cast<int>(call.recurrences);
  return allowed;
}

template int useful_threads<float>(const Call<float>&, int);
template int useful_threads<double>(const Call<double>&, int);

}  // namespace unrolled
