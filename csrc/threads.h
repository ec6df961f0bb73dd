// SPDX-License-Identifier: Apache-2.0
// The threads of the core: a crew that sleeps when idle, is woken by calls that can use it and is created again after
// a fork; and how many threads a process may use.
#pragma once
#include <cstdint>
#include <string>

#include "team.h"

namespace unrolled {

// Runs body(context, team) on the caller's thread, with a crew of up to `threads` members that may claim its work.  If
// another call has the crew, or no thread can be had, the team is the caller alone.
using Body = void (*)(void* context, const Team& team);
void run_team(int threads, Body body, void* context);

// What UNROLLED_NUM_THREADS asks for, 0 if it is not set.  Throws std::invalid_argument for anything but a number of
// threads.
int threads_from_environment();

// The same, or if it is not set, the processors of this process.
int default_threads();

// What UNROLLED_NUM_THREADS asks for, else what the caller does (0: nothing), else the processors of this process.
int allowed_threads(int asked);

// How many threads of this process can run at a time: the processors in the affinity mask of the calling thread, no
// more than the quota of its container, and kMostMembers at most.
int processors();

// The processor quota of the container in whole processors, at least 1; 0 where there is none.  `root` is where control
// groups are mounted, `groups` the file that says in which ones this process is.
int processor_quota(const std::string& root = "/sys/fs/cgroup", const std::string& groups = "/proc/self/cgroup");

// For tests: how members join a call.
struct Rehearsal {
  std::int32_t delay = 0;       // microseconds before a member looks for items of a phase; negative: it never takes any
  std::int16_t processors = 0;  // as if there were this many; 0: as many as there are
  bool awaited = false;         // a call begins when all its members have come
  bool openmp = false;          // OpenMP's threads are the members, whether they run or sleep
};
void rehearse(const Rehearsal& how);
Rehearsal rehearsed();

// Items that members other than the callers have done, ever.
std::uint64_t items_helped();

}  // namespace unrolled
