// SPDX-License-Identifier: Apache-2.0
// How a call is run: the threads, and the scratch that they share.
#pragma once
#include <algorithm>

#include "dispatch.h"
#include "threads.h"
#include "workspace.h"

namespace unrolled {

// Runs `work(scratch, team)` on up to so many threads.  The team may be the caller alone, so the scratch is large
// enough for both: `bytes(threads)` and `bytes(1)`.
template <class Bytes, class Work>
void run_leased(int threads, Bytes bytes, Work work) {
  const Lease scratch(std::max(bytes(threads), bytes(1)));
  struct Job {
    Work& work;
    void* scratch;
  } job{work, scratch.data()};
  run_team(
      threads,
      [](void* context, const Team& team) {
        const Job& job = *static_cast<const Job*>(context);
        job.work(job.scratch, team);
      },
      &job);
}

// Runs a call: the forward pass or, with gradients, the backward pass.
template <class Real>
void run_call(const Kernels<Real>& kernels, const Call<Real>& call, int threads) {
  run_leased(
      threads, [&](int n) { return kernels.scratch_bytes(call, n); },
      [&](void* scratch, const Team& team) {
        if (call.gradients) {
          kernels.backward(call, scratch, team);
        } else {
          kernels.forward(call, scratch, team, /*packed=*/false);
        }
      });
}

}  // namespace unrolled
