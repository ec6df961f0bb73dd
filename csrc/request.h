// SPDX-License-Identifier: Apache-2.0
// A call whose structs come as integers, addresses among them (fields.h), and how any call is run.
#pragma once
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "dispatch.h"
#include "fields.h"
#include "threads.h"
#include "workspace.h"

namespace unrolled {

// A call with the recurrences that it points to.
template <class Real>
struct Request {
  Call<Real> call;
  std::vector<Recurrence<Real>> recurrences;
  std::vector<Gradients<Real>> gradients;

  // Without gradients a forward call, else one of each recurrence.
  Request(const Integers& call_fields, const std::vector<Integers>& recurrence_fields,
          const std::vector<Integers>& gradient_fields)
      : call(read_struct<Call<Real>>(call_fields)) {
    if (recurrence_fields.empty()) throw std::invalid_argument("a call needs at least one recurrence");
    if (!gradient_fields.empty() && gradient_fields.size() != recurrence_fields.size())
      throw std::invalid_argument("a call has gradients of all its recurrences, or of none");
    for (const Integers& fields : recurrence_fields) recurrences.push_back(read_struct<Recurrence<Real>>(fields));
    for (const Integers& fields : gradient_fields) gradients.push_back(read_struct<Gradients<Real>>(fields));
    call.recurrences = static_cast<Index>(recurrences.size());
    call.recurrence = recurrences.data();
    call.gradients = gradients.empty() ? nullptr : gradients.data();
  }
  Request(const Request&) = delete;
};

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
