// SPDX-License-Identifier: Apache-2.0
// How a call is run: the threads, and the scratch that they share.
#pragma once
#include <algorithm>
#include <optional>

#include "dispatch.h"
#include "threads.h"
#include "workspace.h"

namespace unrolled {

// Memory of one call, on the stack where little is needed: leasing takes as long as a step of a small layer.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) {
    if (bytes > sizeof few_) lease_.emplace(bytes);
  }
  void* data() { return lease_ ? lease_->data() : few_; }

 private:
  alignas(64) char few_[8192];
  std::optional<Lease> lease_;
};

// Runs `work(scratch, team)` with up to this many members.  The team may be the caller alone, so the scratch is large
// enough for both: `bytes(members)` and `bytes(1)`.
template <class Bytes, class Job>
void run_leased(int members, Bytes bytes, Job job) {
  Scratch scratch(members > 1 ? std::max(bytes(members), bytes(1)) : bytes(1));
  struct Leased {
    Job& job;
    void* scratch;
  } leased{job, scratch.data()};
  run_team(
      members,
      [](void* context, const Team& team) {
        const Leased& leased = *static_cast<const Leased*>(context);
        leased.job(leased.scratch, team);
      },
      &leased);
}

// Multiply-adds that one thread does while another wakes.
constexpr Index kWorthAsking = 2'000'000;

// Rows in an item, where the rows that are shared do not depend on each other.
constexpr Index kSharedRows = 64;
constexpr Index shared_items(Index rows) { return (rows + kSharedRows - 1) / kSharedRows; }

// body(item, first row, rows) on N rows, each of this many multiply-adds.
template <class Body>
void share_rows(Index N, Index multiply_adds, Body body) {
  struct Shared {
    Body& body;
    Index N;
  } shared{body, N};
  run_team(
      N * multiply_adds < kWorthAsking ? 1 : std::min(default_threads(), processors()),
      [](void* context, const Team& team) {
        const Shared& of = *static_cast<const Shared*>(context);
        team.share(shared_items(of.N), [&](Index item, int) {
          const Index first = item * kSharedRows;
          of.body(item, first, std::min(kSharedRows, of.N - first));
        });
      },
      &shared);
}

// What a call costs (division.h) on an instruction set with vectors of this many bytes.
template <class Real>
Workload workload(const Call<Real>& call, int vector_bytes) {
  const int lanes = vector_bytes / static_cast<int>(sizeof(Real));            // multiply-adds of one instruction
  const int width = vector_bytes / static_cast<int>(sizeof(Computed<Real>));  // units of a vector
  const bool backward = call.gradients;
  const Index GH = gate_count(call.cell) * call.H;
  const auto recurrent = static_cast<double>(GH * call.P), input = static_cast<double>(GH * call.I);
  Workload found{};
  found.T = call.T, found.B = call.B, found.recurrences = call.recurrences, found.lanes = lanes;
  const Index units = backward || gate_count(call.cell) == 1 ? 4 * width : width;  // of a panel (panels-inl.h)
  found.panels = std::max<Index>(1, ((backward ? call.P : call.H) + units - 1) / units);
  found.recurrent = recurrent;
  found.rest = backward ? recurrent + 2 * input : call.recurrence[0].symbols.data ? 0 : input;
  found.bytes = recurrent * sizeof(Real);
  return found;
}

// Who takes part in a call if this many threads are allowed.
template <class Real>
Crewing crewing(const Call<Real>& call, int allowed) {
  const Workload work = workload(call, active_instruction_set().vector_bytes);
  const double all = (work.recurrent + work.rest) * static_cast<double>(call.T * call.B * call.recurrences);
  if (allowed == 1 || all < kWorthAsking) return {1, Division::rows, 0};
  return choose_team(work, std::min(allowed, processors()));
}

// Runs a call, the forward pass or, with gradients, the backward pass, on up to this many threads.
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
