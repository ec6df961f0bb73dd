// SPDX-License-Identifier: Apache-2.0
// Where each row is at each step.  Steps s count in the order in which a recurrence reads them, times t as they lie
// in memory: the reverse direction reads the last time first.

// The rows of a call: who is active when, and where step t of row b lies.
template <class T>
struct Order {
  const CallOf<T>* call;
  Index* order;    // (B) rows, longest first; rows of one length in their own order
  Index* length;   // (B)
  Index* place;    // (T)
  Index* longest;  // (1)
  Index* counts;   // (T + 1)

  void layout(const CallOf<T>& c, Arena& arena) {
    call = &c;
    arena.take(c.B, order, length);
    arena.take(c.T, place);
    arena.take(1, longest);
    arena.take(c.T + 1, counts);
  }

  void fill() {
    const CallOf<T>& c = *call;
    Index before = 0;
    for (Index t = 0; t < c.T; ++t) {
      place[t] = c.batch_sizes ? before : t;
      if (c.batch_sizes) before += c.batch_sizes[t];
    }
    if (c.batch_sizes) {
      for (Index b = 0, t = c.T; b < c.B; ++b) {
        while (t > 0 && c.batch_sizes[t - 1] <= b) --t;
        length[b] = t;
      }
    } else {
      for (Index b = 0; b < c.B; ++b) length[b] = c.lengths ? c.lengths[b] : c.T;
    }
    for (Index t = 0; t <= c.T; ++t) counts[t] = 0;  // counting sort, longest first
    for (Index b = 0; b < c.B; ++b) ++counts[length[b]];
    Index start = 0;
    for (Index t = c.T; t >= 0; --t) {
      const Index n = counts[t];
      counts[t] = start;
      start += n;
    }
    for (Index b = 0; b < c.B; ++b) order[counts[length[b]]++] = b;
    *longest = c.B > 0 ? length[order[0]] : 0;
  }

  // Steps of the longest row: padding behind it changes neither time nor the blocks of the sums.
  Index steps() const { return *longest; }

  // Row (t, b) of an array whose first row has place `first`.
  template <class Element>
  Element* row(const Rows<Element>& rows, Index t, Index b, Index first = 0) const {
    return rows.data + (place[t] - first) * rows.time_stride + b * rows.batch_stride;
  }

  bool resets(Index t, Index b) const { return call->reset.data && *row(call->reset, t, b); }

  // Row k of a share.
  Index row_of(const Share& share, Index k) const { return order[share.first + k * share.stride]; }

  // How many rows of a share are inside their sequence at t; n is the number at a neighbouring t.
  Index active(const Share& share, Index t, Index n) const {
    while (n < share.rows && length[row_of(share, n)] > t) ++n;
    while (n > 0 && length[row_of(share, n - 1)] <= t) --n;
    return n;
  }
};

// The panels of step s: every other step reads them from last to first, since what the step before read last is
// still in the second cache.
inline Range turning(Range panels, Index s) { return {panels.begin, panels.end, s % 2 != 0}; }

// Where the state that a step reads comes from.
enum class Origin { step_before, initial, reset };

// The steps of one recurrence.
template <class T>
struct Timeline {
  const Order<T>* order = nullptr;
  const RecurrenceOf<T>* recurrence = nullptr;
  const typename T::Storage* zeros = nullptr;  // (P)

  Index time(Index s) const { return recurrence->reverse ? order->steps() - 1 - s : s; }
  Index time_before(Index t) const { return recurrence->reverse ? t + 1 : t - 1; }
  Index time_after(Index t) const { return recurrence->reverse ? t - 1 : t + 1; }

  Origin origin(Index t, Index b) const {
    if (order->resets(t, b)) return Origin::reset;
    return t == (recurrence->reverse ? order->length[b] - 1 : 0) ? Origin::initial : Origin::step_before;
  }
  bool ends(Index t, Index b) const { return t == (recurrence->reverse ? 0 : order->length[b] - 1); }

  // The last step of row b; its length must not be 0.
  Index last_step(Index b) const { return recurrence->reverse ? order->steps() - 1 : order->length[b] - 1; }

  const typename T::Storage* h(Index t, Index b) const { return order->row(recurrence->y, t, b); }
  // h that row b starts from.
  const typename T::Storage* h_start(Origin origin, Index b) const {
    const typename T::Storage* h = origin == Origin::reset ? recurrence->h_reset : recurrence->h_0;
    return h ? h + b * order->call->P : zeros;
  }
  // h_{t-1}: y of the step before, or where the row starts.
  const typename T::Storage* h_prev(Index t, Index b, Origin origin) const {
    return origin == Origin::step_before ? h(time_before(t), b) : h_start(origin, b);
  }
};

// The cell states that rows start from, padded, as backward reads them.
template <class T>
struct StartCells {
  typename T::Compute *c_0 = nullptr, *c_reset = nullptr;  // (B, Hp), null: zeros

  void layout(const RecurrenceOf<T>& recurrence, Index size, Arena& arena) {
    if (recurrence.c_0) arena.take(size, c_0);
    if (recurrence.c_reset) arena.take(size, c_reset);
  }
  void fill(const RecurrenceOf<T>& recurrence, Index H, Index Hp, Range b) const {
    if (c_0) pad_rows(c_0, recurrence.c_0, H, Hp, b);
    if (c_reset) pad_rows(c_reset, recurrence.c_reset, H, Hp, b);
  }
  // Of a row that begins at element `at`.
  const typename T::Compute* row(Origin origin, Index at, const typename T::Compute* zeros) const {
    const typename T::Compute* c = origin == Origin::reset ? c_reset : c_0;
    return c ? c + at : zeros;
  }
};

// Steps in a segment.
template <class T>
inline Index segment_steps(const CallOf<T>& call) {
  return whole_blocks(call.segment, call.B);
}

// Where gates and cells of the steps from `begin` on are saved: in the caller's buffers, or in those of a segment.
template <class T>
struct Saved {
  Rows<typename T::Storage> gates;
  Rows<typename T::Compute> cells;
  Index first = 0;  // the place of their first row
  Index begin = 0;
  typename T::Compute* c_before = nullptr;  // (B, Hp): c before step `begin`, for rows that do not start there

  typename T::Compute* before(Index s) const { return s == begin ? c_before : nullptr; }
};
