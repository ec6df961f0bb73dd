// SPDX-License-Identifier: Apache-2.0
// The threads of the core: OpenMP's where the process has them already, else a pool of std::thread, which sleeps when
// idle and is created again after a fork; and how many threads a call is worth.
#pragma once
#include "kernels.h"

namespace unrolled {

// Runs body(context, team) on `threads` threads, the caller's among them, and returns when all are done.  If another
// call holds the pool, or not all threads can be had, the team is the caller alone, and never a size in between:
// results do not depend on the size of the team, but the layout of the scratch does.
using Body = void (*)(void* context, const Team& team);
void run_team(int threads, Body body, void* context);

// What UNROLLED_NUM_THREADS asks for, 0 if it is not set.  Throws std::invalid_argument for anything but a number of
// threads.
int threads_from_environment();

// That, or the processors of this process.
int default_threads();

// How many of `allowed` threads are worth waking for a call.
template <class Real>
int useful_threads(const Call<Real>& call, int allowed);
int useful_threads(double multiply_adds, int allowed);

}  // namespace unrolled
