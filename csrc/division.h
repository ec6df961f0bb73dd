// SPDX-License-Identifier: Apache-2.0
// How the work of a call is divided, and among how many threads: a model of what a call costs, in nanoseconds.
#pragma once
#include <cstdint>

namespace unrolled {

using Index = std::int64_t;

enum class Division {
  rows,   // an item is some rows of a recurrence at all steps: members do not meet within the time loop
  steps,  // an item is some rows and panels at one step: members meet at every step
};

// How many blocks the rows of each recurrence, and the panels of a step, are cut into.
struct Blocking {
  Index rows, panels;
};

// For this many members, all with about the same amount of work.
Blocking blocking(Division division, Index members, Index recurrences, Index B, Index panels);

// What the model needs to know of a call.
struct Workload {
  Index T, B, recurrences;
  Index panels;            // of the recurrent product
  double recurrent, rest;  // multiply-adds of a row at a step: of the recurrent product, and of all others
  double bytes;            // of the recurrent weights
  int lanes;               // numbers in a vector
};

struct Crewing {
  int members;
  Division division;
  double nanoseconds;
};

// The time of a call with this many members, all there from the start.
double predict(const Workload& work, Division division, Index members);

// The fastest division by this model with at most this many members; among equals, the one with the fewest.
Crewing choose_team(const Workload& work, int allowed);

}  // namespace unrolled
