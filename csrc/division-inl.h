// SPDX-License-Identifier: Apache-2.0
// How the work of a call is cut into items.  No division changes a bit of the result.

template <class T>
using CallOf = Call<typename T::Storage, typename T::Compute>;
template <class T>
using RecurrenceOf = Recurrence<typename T::Storage, typename T::Compute>;

// One of `parts` parts of the rows of a call.
struct Share {
  Index first, stride, rows;  // row k of the share is order[first + k * stride]
};

inline Share all_rows(Index B) { return {0, 1, B}; }

template <class T>
inline Share share_of_rows(const CallOf<T>& call, Index part, Index parts) {
  if (!call.lengths && !call.batch_sizes) {
    const Range rows = Part{part, parts}.of(call.B);
    return {rows.begin, 1, rows.end - rows.begin};
  }
  // Ragged: deal the rows out in turn, longest first, so that every share has rows of every length.
  return {part, parts, (call.B - part + parts - 1) / parts};
}

// The items of one pass over some steps: each recurrence in blocks of rows and, where steps are shared, of panels.
struct Grid {
  Index recurrences;
  Blocking blocks;

  Index items() const { return recurrences * blocks.rows * blocks.panels; }
  Index recurrence(Index item) const { return item / (blocks.rows * blocks.panels); }
  Index row_block(Index item) const { return item / blocks.panels % blocks.rows; }
  Part panels(Index item) const { return {item % blocks.panels, blocks.panels}; }
};

// Steps that rows run on their own before members are counted again: all of them once everyone has come, else a few, so
// that a member that comes late soon has work.
template <class T>
inline Index stretch(const CallOf<T>& call, bool complete) {
  constexpr Index multiply_adds = 2'000'000;
  const Index step = call.recurrences * call.B * gate_count(call.cell) * call.H * (call.I + call.P);
  return complete ? call.T : max_of(1, multiply_adds / max_of(1, step));
}

// Several parts of each recurrence per member, so that one that comes late still finds some.
inline Index parts_of_each(const Team& team, Index recurrences) {
  return team.size == 1 ? 1 : (4 * team.size + recurrences - 1) / recurrences;
}
