// SPDX-License-Identifier: Apache-2.0
// OpenMP's threads, where the process has them (torch brings libgomp), found by name: nothing here depends on OpenMP.
// After a parallel region they spin for milliseconds on the processors that ours would need, so while they do, they are
// the members of a call (docs/decisions/0008-claimed-work.md).
#pragma once
#include <dlfcn.h>
#include <pthread.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "waiting.h"

namespace unrolled {

#ifdef __linux__
class OpenMp {
 public:
  // Null where the process has no libgomp.
  static const OpenMp* find() {
    static const OpenMp* const found = [] {
      static OpenMp openmp;
      void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
      if (!library) return static_cast<OpenMp*>(nullptr);
      openmp.parallel_ = reinterpret_cast<decltype(openmp.parallel_)>(dlsym(library, "GOMP_parallel"));
      openmp.id_ = reinterpret_cast<decltype(openmp.id_)>(dlsym(library, "omp_get_thread_num"));
      return openmp.parallel_ && openmp.id_ ? &openmp : nullptr;
    }();
    return found;
  }

  // body(id) on this many threads or fewer, the caller's with id 0 among them; returns when all have ended.
  template <class Body>
  void run(int threads, Body body) const {
    struct Region {
      const OpenMp& openmp;
      Body& body;
    } region{*this, body};
    parallel_(
        [](void* data) {
          const Region& of = *static_cast<const Region*>(data);
          of.body(of.openmp.id_());
        },
        &region, static_cast<unsigned>(threads), 0);
  }

  // Whether the first of the threads that serve the caller is running at this moment.  Asking it for its clock costs
  // a region, so it is asked only if the process has more threads than the `known` ones, and not at every call.
  bool is_running(int threads, int known) const {
    thread_local clockid_t clock = 0;  // counts the time for which that thread runs; 0: not known
    thread_local unsigned calls = 0;
    if (clock == 0) {
      if (calls++ % 64 != 0 || threads_of_process() <= known) return false;
      run(threads, [own = &clock](int id) {
        if (id == 1) pthread_getcpuclockid(pthread_self(), own);
      });
      if (clock == 0) return false;
    }
    const std::int64_t used = nanoseconds(clock), began = nanoseconds(CLOCK_MONOTONIC);
    if (used < 0) return clock = 0, false;  // it has ended
    while (nanoseconds(CLOCK_MONOTONIC) - began < 1000) pause();
    return 2 * (nanoseconds(clock) - used) > nanoseconds(CLOCK_MONOTONIC) - began;
  }

 private:
  static std::int64_t nanoseconds(clockid_t clock) {
    timespec t{};
    return clock_gettime(clock, &t) == 0 ? t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec : -1;
  }

  static int threads_of_process() {
    std::error_code problem;
    int found = 0;
    for (std::filesystem::directory_iterator task("/proc/self/task", problem), end; !problem && task != end;
         task.increment(problem)) {
      ++found;
    }
    return found;
  }

  void (*parallel_)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
  int (*id_)() = nullptr;
};
#else
// Elsewhere nobody can ask a thread whether it runs, and torch brings another library.
class OpenMp {
 public:
  static const OpenMp* find() { return nullptr; }
  template <class Body>
  void run(int, Body) const {}
  bool is_running(int, int) const { return false; }
};
#endif

}  // namespace unrolled
