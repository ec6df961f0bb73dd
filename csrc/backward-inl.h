// SPDX-License-Identifier: Apache-2.0
// The backward pass through time (BPTT).
//
//   for each chunk of steps, the last first:
//     for each step, the last first:   dh_t = dy_t + W_hh^T da_{t+1}    one product, then the cell's backward at once
//                                      da_t = gradients before the activations, saved for the chunk
//     dW += da^T [x, h_{t-1}],  dx = W_ih^T da                         products over all rows of the chunk
//
// Where a row starts, its gradient goes not to the step before but to h_0 and c_0, or to h_reset and c_reset.
//
// Sums over rows (dW, db) run from the last step to the first, in blocks of a fixed number of steps counted from the
// end.  Cutting a pass at the edge of a block changes no bit: segments of recomputed gates end there.

// Some rows of one recurrence: what one item of work does.
template <class Cell, class T>
class BackwardRows {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;
  using V = Vec<Compute>;

 public:
  // Uses the pointers of a member; `saved` is where gates and cells are.
  BackwardRows(const BackwardPlan<Cell, T>& plan, int member, Index which, const Share& share, const Saved<T>& saved)
      : plan_(plan), call_(plan.call), order_(plan.order), share_(share), at_(plan.pointers[member]),
        recurrence_(call_.recurrence[which]), gradients_(call_.gradients[which]), buffers_(plan.buffers[which]),
        Hp_(plan.Hp), Pp_(plan.Pp), timeline_{&order_, &recurrence_, plan.no_h}, saved_(saved), n_(share.rows) {
    for (int gate = 0; gate < Cell::gates; ++gate) hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
  }

  // Steps s1 - 1 down to s0, all panels.
  void run(Index s0, Index s1) {
    for (Index s = s1; s-- > s0;) {
      if (plan_.projected) project(s, kWhole);
      step(s, kWhole);
    }
  }

  // With a projection: dp_t = dh_t, the gradient of W_hr m_t.
  void project(Index s, Part part) {
    const Index n = point(s);
    recurrent_product(n, turning(buffers_.hidden.of(part), s),
                      [&](Index k, Index j, V dh) { write<Compute>(at_.dp[k] + j, dh); });
  }

  void step(Index s, Part part) {
    const Index n = point(s);
    if (plan_.projected) {
      const auto& panels = buffers_.projection;
      multiply_rows(panels, panels.of(part), at_.dp, n,
                    [&](Index k, Index j, const Sum* sum) { cell(k, j, convert<Compute>(load(sum))); });
    } else {
      recurrent_product(n, turning(buffers_.hidden.of(part), s), [&](Index k, Index j, V dh) { cell(k, j, dh); });
    }
    finish_starts(timeline_.time(s), n, part);
  }

 private:
  Storage* da(Index s, Index b) const { return buffers_.da + plan_.ring(s, b) * plan_.da_width; }

  // Where each row of step s reads and writes.  Returns how many there are.
  Index point(Index s) {
    const Index t = timeline_.time(s), n = n_ = order_.active(share_, t, n_);
    const Index t_prev = timeline_.time_before(t), t_next = timeline_.time_after(t);
    follows_ = false;
    for (Index k = 0; k < n; ++k) {
      const Index b = order_.row_of(share_, k);
      const Origin origin = timeline_.origin(t, b);
      const bool ends = timeline_.ends(t, b);
      const bool passed_on = !ends && !order_.resets(t_next, b);
      follows_ |= passed_on;
      at_.da_next[k] = passed_on ? da(s + 1, b) : plan_.no_h;
      at_.extra[k] = ends || Cell::reads_h_prev ? buffers_.dh + b * Pp_ : plan_.zeros;
      at_.dy[k] = gradients_.dy.data ? order_.row(gradients_.dy, t, b) : plan_.no_h;
      at_.da[k] = da(s, b);
      at_.dh[k] = buffers_.dh + b * Pp_;
      if (Cell::saved > 0) at_.saved[k] = order_.row(saved_.gates, t, b, saved_.first);
      if (Cell::reads_h) at_.h[k] = timeline_.h(t, b);
      if (Cell::reads_h_prev) at_.h_prev[k] = timeline_.h_prev(t, b, origin);
      if constexpr (Cell::has_c) {
        at_.dc[k] = buffers_.dc + b * Hp_;
        at_.c[k] = order_.row(saved_.cells, t, b, saved_.first);
        at_.c_prev[k] = origin != Origin::step_before ? buffers_.c_start.row(origin, b * Hp_, plan_.zeros)
                        : saved_.before(s)            ? saved_.before(s) + b * Hp_
                                                      : order_.row(saved_.cells, t_prev, b, saved_.first);
      }
      if (plan_.projected) {
        at_.dp[k] = buffers_.dp + plan_.ring(s, b) * Pp_;
        at_.m[k] = buffers_.m + plan_.ring(s, b) * Hp_;
      }
    }
    return n;
  }

  // each(row, unit, dh_t): dh_t is W_hh^T da_{t+1} plus all other gradients of h_t.
  template <class Each>
  [[gnu::always_inline]] void recurrent_product(Index n, Range range, Each each) {
    const auto& panels = buffers_.hidden;
    const auto product = [&](Sum* sums, Index p, Index N, Index r0, Index R, NextPanel next) {
      if (follows_) {
        multiply_panels<true>(panels, p, N, R, sums, at_.da_next + r0, hidden_at_, next);
      } else {
        for (Index k = 0; k < N * R * panels.vectors(p); ++k) store(sums + k * kWidth<Sum>, Vec<Sum>{});
      }
    };
    for_each_tile(panels, range, n, product, [&](Index k, Index j, const Sum* sum) {
      const V dy = read_n<Compute>(at_.dy[k] + j, panels.lanes(j));
      each(k, j, convert<Compute>(load(sum)) + dy + load(at_.extra[k] + j));
    });
  }

  // One vector of units of one row, from unit j on.
  void cell(Index k, Index j, V dh) {
    const Index n = min_of(call_.H - j, kWidth<Compute>);
    V saved[4]{}, da[Cell::slots];
    prefetch_next(k, j);
    for (int slot = 0; slot < Cell::saved; ++slot) saved[slot] = read<Compute>(at_.saved[k] + slot * Hp_ + j);
    const V h = Cell::reads_h ? read_n<Compute>(at_.h[k] + j, n) : V{};
    const V h_prev = Cell::reads_h_prev ? read_n<Compute>(at_.h_prev[k] + j, n) : V{};
    const V c = Cell::has_c ? load(at_.c[k] + j) : V{};
    const V c_prev = Cell::has_c ? load(at_.c_prev[k] + j) : V{};
    const V dc = Cell::has_c ? load(at_.dc[k] + j) : V{};
    const UnitVectors<Cell, Compute> vectors(buffers_.vectors + j, Hp_);
    const StepBack<Compute> back = Cell::backward(saved, vectors.of, h, h_prev, c, c_prev, dh, dc, da);
    for (int slot = 0; slot < Cell::slots; ++slot) {
      write<Compute>(at_.da[k] + slot * Hp_ + j, da[slot]);
      if (BackwardPlan<Cell, T>::da_is_rounded && gradients_.of_weights()) {
        Compute* sum = buffers_.da_sums + (order_.row_of(share_, k) * Cell::slots + slot) * Hp_ + j;
        store(sum, load(sum) + da[slot]);
      }
    }
    if constexpr (Cell::reads_h_prev) store(at_.dh[k] + j, back.dh_direct);
    if constexpr (Cell::has_c) {
      store(at_.dc[k] + j, back.dc_prev);
      if (plan_.projected) write<Compute>(at_.m[k] + j, Cell::output(saved[3], c));
    }
  }

  // Prefetches what the next panel reads of a row: it was saved long ago, in pieces that no hardware prefetches.
  [[gnu::always_inline]] void prefetch_next(Index k, Index j) const {
    const Index next = j + kPanelVectors * kWidth<Compute>;
    if (next >= Hp_) return;
    const auto fetch = [next](const auto* row) { __builtin_prefetch(row + next); };
    for (int slot = 0; slot < Cell::saved; ++slot) fetch(at_.saved[k] + slot * Hp_);
    if constexpr (Cell::has_c) fetch(at_.c[k]), fetch(at_.c_prev[k]);
    if constexpr (Cell::reads_h) fetch(at_.h[k]);
    if constexpr (Cell::reads_h_prev) fetch(at_.h_prev[k]);
    fetch(at_.dy[k]);
  }

  // Where a row starts, the gradients of the state before the step go to the state that it starts from.
  void finish_starts(Index t, Index n, Part part) {
    const auto& panels = plan_.projected ? buffers_.projection : buffers_.hidden;
    const Range units = panels.units(panels.of(part), Hp_);
    const Index from = units.begin, to = units.end;
    for (Index k = 0; k < n; ++k) {
      const Index b = order_.row_of(share_, k);
      const Origin origin = timeline_.origin(t, b);
      if (origin == Origin::step_before) continue;
      const bool resets = origin == Origin::reset;
      const StartSums<T>& sums = resets ? buffers_.reset : buffers_.initial;
      if (resets ? gradients_.dh_reset : gradients_.dh_0) {
        for (int slot = 0; slot < Cell::slots; ++slot) {
          add(sums.da + (b * Cell::slots + slot) * Hp_, at_.da[k] + slot * Hp_, from, to);
        }
        if (Cell::reads_h_prev) add(sums.dh + b * Pp_, at_.dh[k], from, to);
      }
      if (Cell::has_c && (resets ? gradients_.dc_reset : gradients_.dc_0)) {
        add(sums.dc + b * Hp_, at_.dc[k], from, to);
      }
      for (Index j = from; j < to; ++j) {
        if (Cell::reads_h_prev) at_.dh[k][j] = 0;
        if (Cell::has_c) at_.dc[k][j] = 0;
      }
    }
  }
  template <class From>
  static void add(Compute* to, const From* from, Index begin, Index end) {
    for (Index j = begin; j < end; ++j) to[j] += static_cast<Compute>(from[j]);
  }

  const BackwardPlan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const Share share_;
  const BackwardPointers<T>& at_;
  const RecurrenceOf<T>& recurrence_;
  const Gradients<Storage>& gradients_;
  const BackwardBuffers<T>& buffers_;
  const Index Hp_, Pp_;
  const Timeline<T> timeline_;
  const Saved<T> saved_;
  Index n_;  // rows inside their sequence at the last step
  Index hidden_at_[Cell::gates];
  bool follows_ = false;
};

// Steps s1 - 1 down to s0 of all recurrences; saved_of(which) is where gates and cells are.
template <class Cell, class T, class SavedOf>
void walk_back(const BackwardPlan<Cell, T>& plan, const Team& team, Index s0, Index s1, SavedOf saved_of) {
  const CallOf<T>& call = plan.call;
  while (s1 > s0) {
    const Index members = team.members();
    const Grid grid = plan.grid(members);
    const auto rows = [&](Index item, int member) {
      const Index which = grid.recurrence(item);
      return BackwardRows<Cell, T>(plan, member, which, share_of_rows<T>(call, grid.row_block(item), grid.blocks.rows),
                                   saved_of(which));
    };
    if (call.division == Division::rows) {
      const Index begin = max_of(s0, s1 - stretch<T>(call, members == team.size));
      team.share(grid.items(), [&](Index item, int member) { rows(item, member).run(begin, s1); });
      s1 = begin;
    } else {
      const Index s = --s1;
      if (plan.projected) {
        team.share(grid.items(), [&](Index item, int member) { rows(item, member).project(s, grid.panels(item)); });
      }
      team.share(grid.items(), [&](Index item, int member) { rows(item, member).step(s, grid.panels(item)); });
    }
  }
}
