// SPDX-License-Identifier: Apache-2.0
// How a call is divided among its threads.  No division changes a bit of the result.

template <class T>
using CallOf = Call<typename T::Storage, typename T::Compute>;
template <class T>
using RecurrenceOf = Recurrence<typename T::Storage, typename T::Compute>;

enum class Division {
  rows,         // each thread has its own rows of every recurrence: no barrier in the time loop
  recurrences,  // each thread has all rows of its own recurrences
  panels,       // all threads have all rows together, each its own units: one barrier a step
};

template <class T>
inline Division choose_division(const CallOf<T>& call, int threads) {
  if (threads == 1) return Division::rows;
  // With fewer rows than this per thread, loading the weights costs more than the arithmetic.  Weights that do not fit
  // a core's own cache are better divided, so that each thread reads only its part of them.
  constexpr Index near_bytes = Index{1} << 19;
  const Index W_hh_bytes = gate_count(call.cell) * call.H * call.P * static_cast<Index>(sizeof(typename T::Storage));
  const Index few_rows = W_hh_bytes > near_bytes ? 16 : 4;
  if (call.B >= few_rows * threads) return Division::rows;
  if (call.recurrences >= threads) return Division::recurrences;
  return call.H >= 2 * kPanelVectors * kWidth<typename T::Sum> ? Division::panels : Division::rows;
}

// The rows and panels of one thread.
struct Share {
  Index first, stride, rows;  // row k of the share is order[first + k * stride]
  int part, parts;            // of the panels
  bool together;              // other threads have the same rows

  Range panels(Index count) const { return {count, part, parts}; }
};

inline Share all_rows(Index B) { return {0, 1, B, 0, 1, false}; }

template <class T>
inline Share choose_share(const CallOf<T>& call, Division division, const Team& team) {
  if (division == Division::recurrences) return all_rows(call.B);
  if (division == Division::panels) return {0, 1, call.B, team.id, team.size, true};
  if (!call.lengths && !call.batch_sizes) {
    const Range rows(call.B, team.id, team.size);
    return {rows.begin, 1, rows.end - rows.begin, 0, 1, false};
  }
  // Ragged: deal the rows out in turn, longest first, so that every thread gets rows of every length.
  return {team.id, team.size, (call.B - team.id + team.size - 1) / team.size, 0, 1, false};
}

inline bool has_recurrence(Division division, Index which, const Team& team) {
  return division != Division::recurrences || which % team.size == team.id;
}
