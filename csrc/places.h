// SPDX-License-Identifier: Apache-2.0
// Which processors the threads of a call run on.
#pragma once
#include <sched.h>
#include <sys/types.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace unrolled {

// The calling thread, as the kernel names it; 0 where it has no such name.
inline pid_t thread_id() {
#ifdef __linux__
  return static_cast<pid_t>(syscall(SYS_gettid));
#else
  return 0;
#endif
}

// Where the members of the crew may run: on any processor of the caller's but the one it is on.  Otherwise a woken
// thread is often put on its waker's processor, where the two take turns until the scheduler parts them; in a virtual
// machine, whose idle processors look busy to its kernel, it nearly always is (docs/decisions/0008-claimed-work.md).
class Places {
 public:
  // Whether the caller has moved, or may run elsewhere, since the last time; `look` asks the kernel where it may.
  bool changed([[maybe_unused]] bool look) {
#ifdef __linux__
    const int here = sched_getcpu();
    if (here < 0 || (here == here_ && !look)) return false;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return false;
    here_ = here;
    if (CPU_COUNT(&set) > 1 && here < CPU_SETSIZE) CPU_CLR(here, &set);
    if (CPU_EQUAL(&set, &set_)) return false;
    set_ = set;
    return true;
#else
    return false;
#endif
  }
  void move([[maybe_unused]] pid_t thread) const {
#ifdef __linux__
    sched_setaffinity(thread, sizeof set_, &set_);
#endif
  }

 private:
#ifdef __linux__
  int here_ = -1;
  cpu_set_t set_{};
#endif
};

}  // namespace unrolled
