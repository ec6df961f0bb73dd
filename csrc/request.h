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

// Runs `work(scratch, team)` with up to so many members.  The team may be the caller alone, so the scratch is large
// enough for both: `bytes(members)` and `bytes(1)`.
template <class Bytes, class Work_>
void run_leased(int members, Bytes bytes, Work_ work) {
  const Lease scratch(std::max(bytes(members), bytes(1)));
  struct Job {
    Work_& work;
    void* scratch;
  } job{work, scratch.data()};
  run_team(
      members,
      [](void* context, const Team& team) {
        const Job& job = *static_cast<const Job*>(context);
        job.work(job.scratch, team);
      },
      &job);
}

// What a call costs (division.h) on an instruction set with vectors of so many bytes.
template <class Real>
Workload workload(const Call<Real>& call, int vector_bytes) {
  const int lanes = vector_bytes / static_cast<int>(sizeof(Real));
  const bool backward = call.gradients;
  const Index GH = gate_count(call.cell) * call.H;
  const auto recurrent = static_cast<double>(GH * call.P), input = static_cast<double>(GH * call.I);
  Workload found{};
  found.T = call.T, found.B = call.B, found.recurrences = call.recurrences, found.lanes = lanes;
  const Index units = backward || gate_count(call.cell) == 1 ? 4 * lanes : lanes;  // of a panel (gemm-inl.h)
  found.panels = std::max<Index>(1, ((backward ? call.P : call.H) + units - 1) / units);
  found.recurrent = recurrent;
  found.rest = backward ? recurrent + 2 * input : call.recurrence[0].symbols.data ? 0 : input;
  found.bytes = recurrent * sizeof(Real);
  return found;
}

// Who takes part in a call if so many threads are allowed.
template <class Real>
Crewing crewing(const Call<Real>& call, int allowed) {
  const Workload work = workload(call, active_instruction_set().vector_bytes);
  constexpr double worth_asking = 2e6;  // with fewer multiply-adds one thread is done before another has woken
  const double all = (work.recurrent + work.rest) * static_cast<double>(call.T * call.B * call.recurrences);
  if (allowed == 1 || all < worth_asking) return {1, Division::rows, 0};
  return choose_team(work, std::min(allowed, processors()));
}

// Runs a call, the forward pass or with gradients the backward pass, on up to so many threads.
template <class Real>
void run_call(const Kernels<Real>& kernels, Call<Real> call, int allowed) {
  const Crewing crew = crewing(call, allowed);
  call.division = crew.division;
  run_leased(
      crew.members, [&](int members) { return kernels.scratch_bytes(call, members); },
      [&](void* scratch, const Team& team) {
        if (call.gradients) {
          kernels.backward(call, scratch, team);
        } else {
          kernels.forward(call, scratch, team);
        }
      });
}

}  // namespace unrolled
