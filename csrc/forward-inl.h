// SPDX-License-Identifier: Apache-2.0
// The forward pass: the one time loop of all cells.
//
//   for each chunk of steps:   x_part = W_ih x + b        one product over all rows of the chunk
//     for each step:           h_part = W_hh h_{t-1}      one product over the rows of the step,
//                              h_t, c_t = cell(...)       and the cell while its sums are still in L1
//
// Where gates are saved, the activated ones overwrite x_part in the buffer that backward reads.

enum class Pass {
  inference,  // y and the last states
  training,   // and the gates and cells
  recompute,  // the gates and cells alone, of a segment: y and so every h_{t-1} is known, and a chunk of steps is one
              // product.  Only c goes from step to step, unit by unit
};

// Some rows of one recurrence: what one item of work does.
template <class Cell, class T>
class ForwardRows {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;
  using V = Vec<Compute>;

 public:
  // Uses the pointers and buffers of a member; `saved` is where gates and cells are.
  ForwardRows(const Plan<Cell, T>& plan, int member, Index which, const Share& share, const Saved<T>& saved)
      : plan_(plan), call_(plan.call), order_(plan.order), share_(share), at_(plan.pointers[member]),
        shared_(call_.division == Division::steps), in_place_(call_.T == 1 && !call_.save),
        buffers_(plan.buffers[shared_ ? which : member]), recurrence_(call_.recurrence[which]),
        packed_(plan.packed[which]), Hp_(plan.Hp), segment_(call_.segment ? segment_steps<T>(call_) : 0),
        timeline_{&order_, &recurrence_, plan.no_h}, saved_(saved), n_(share.rows) {}

  // Steps s0 to s1, all panels.
  void run(Index s0, Index s1) {
    for (Index end; s0 < s1; s0 = end) {
      end = s1 - s0 == 1 ? s1 : min_of(s0 + chunk(), s1);
      input_products(s0, end, kWhole);
      for (Index s = s0; s < end; ++s) {
        step(s, s - s0, kWhole);
        if (plan_.projected) project(s, kWhole);
      }
    }
  }

  // How many steps have their input products made at a time.
  Index chunk() const { return chunk_steps(shared_ ? call_.B : share_.rows); }

  // W_ih x + b of steps s0 to s1 of a chunk.
  void input_products(Index s0, Index s1, Part part) {
    if (plan_.tabled) return;
    const Range panels = packed_.hidden.of(part);  // the same units as those of the steps
    Index rows = 0;
    for (Index s = s0; s < s1; ++s) {
      const Index t = timeline_.time(s), n = active(t);
      for (Index k = 0; k < n; ++k, ++rows) {
        const Index b = order_.row_of(share_, k);
        at_.out[rows] = x_part(t, b, k, s - s0);
        if (plan_.by_symbol) {
          plan_.symbol_product(recurrence_.weights.W_ih, packed_.x_bias, *order_.row(recurrence_.symbols, t, b),
                               packed_.input.units(panels, Hp_), at_.out[rows]);
        } else {
          at_.x[rows] = order_.row(recurrence_.x, t, b);
        }
      }
    }
    if (!plan_.by_symbol) multiply_inputs(panels, rows);
  }

  void step(Index s, Index step_of_chunk, Part part) {
    const Index n = point(s, step_of_chunk, 0);
    const Range panels = turning(packed_.hidden.of(part), s);
    if (call_.save) {
      multiply<Pass::training>(n, panels);
    } else {
      multiply<Pass::inference>(n, panels);
    }
  }

  // h_t = W_hr m_t
  void project(Index s, Part part) { multiply_projection(point(s, 0, 0), part); }

  // A call of one step of all rows without resets that is run again and again: its rows are pointed at once,
  void point_once() {
    point(0, 0, 0);
    for (Index b = 0; b < call_.B && !plan_.tabled; ++b) at_.out[b] = x_part(0, b, b, 0);
  }
  // and only x may lie elsewhere the next time.
  void again() {
    for (Index b = 0; b < call_.B; ++b) {
      if (plan_.tabled) {
        at_.x_part[b] = table_row(0, b);
      } else {
        at_.x[b] = recurrence_.x.data + b * recurrence_.x.batch_stride;
      }
    }
    if (!plan_.tabled) multiply_inputs(packed_.input.whole(), call_.B);
    multiply<Pass::inference>(call_.B, packed_.hidden.whole());
    if (plan_.projected) multiply_projection(call_.B, kWhole);
    for (Index b = 0; b < call_.B; ++b) {
      for (Index j = 0; j < call_.P; ++j) recurrence_.h_n[b * call_.P + j] = at_.y[b][j];
    }
  }

  // The gates and cells of steps s0 to s1, a segment, from x and y.
  void recompute(Index s0, Index s1, Part part) {
    for (Index end; s0 < s1; s0 = end) {
      end = min_of(s0 + chunk(), s1);
      input_products(s0, end, part);
      Index rows = 0;
      for (Index s = s0; s < end; ++s) rows += point(s, s - s0, rows);
      multiply<Pass::recompute>(rows, packed_.hidden.of(part));
    }
  }

  void last_states() const {
    for (Index k = 0; k < share_.rows; ++k) {
      const Index b = order_.row_of(share_, k);
      const bool moved = order_.length[b] > 0;
      const Index s = moved ? timeline_.last_step(b) : 0, t = timeline_.time(s);
      const Storage* h = moved ? timeline_.h(t, b) : timeline_.h_start(Origin::initial, b);
      for (Index j = 0; j < call_.P; ++j) recurrence_.h_n[b * call_.P + j] = h[j];
      if constexpr (Cell::has_c) {
        if (in_place_ && moved) continue;
        const Compute* c = moved ? c_row(c_after(s), t, b) : c_start(Origin::initial, b);
        for (Index j = 0; j < call_.H; ++j) recurrence_.c_n[b * call_.H + j] = c[j];
      }
    }
  }

 private:
  Index active(Index t) { return n_ = order_.active(share_, t, n_); }

  Storage* gates(Index t, Index b) const { return order_.row(saved_.gates, t, b, saved_.first); }

  // For row b, the k-th of the share.
  Compute* x_part(Index t, Index b, Index k, Index step_of_chunk) const {
    if constexpr (Plan<Cell, T>::x_in_gates) {
      if (call_.save) return gates(t, b);
    }
    const Index row = shared_ ? step_of_chunk * call_.B + b : step_of_chunk * share_.rows + k;
    return buffers_.x_part + row * Cell::gates * Hp_;
  }

  Compute* table_row(Index t, Index b) const {
    return packed_.table + *order_.row(recurrence_.symbols, t, b) * Cell::gates * Hp_;
  }

  // c of all rows after step s, (B, Hp); null where every step has its own.
  Compute* c_after(Index s) const {
    if (call_.save) return saved_.before(s + 1);
    const Index to_end = order_.steps() - 1 - s;
    const bool edge = call_.segment && to_end > 0 && to_end % segment_ == 0;
    return edge ? recurrence_.cells.data + (to_end / segment_ - 1) * recurrence_.cells.time_stride : packed_.c;
  }
  Compute* c_row(Compute* all, Index t, Index b) const {
    return all ? all + b * Hp_ : order_.row(saved_.cells, t, b, saved_.first);
  }
  const Compute* c_start(Origin origin, Index b) const {
    const Compute* c = origin == Origin::reset ? recurrence_.c_reset : recurrence_.c_0;
    return c ? c + b * call_.H : plan_.zeros;
  }

  // Where each row of step s reads and writes; their places among those of the pass start at `first`.  Returns how many
  // there are.
  Index point(Index s, Index step_of_chunk, Index first) {
    const Index t = timeline_.time(s), t_prev = timeline_.time_before(t), n = active(t);
    Compute *const c = Cell::has_c ? c_after(s) : nullptr, *const c_prev = Cell::has_c ? c_after(s - 1) : nullptr;
    for (Index i = 0; i < n; ++i) {
      const Index b = order_.row_of(share_, i), k = first + i;
      const Origin origin = timeline_.origin(t, b);
      at_.h_prev[k] = timeline_.h_prev(t, b, origin);
      at_.y[k] = order_.row(recurrence_.y, t, b);
      if (plan_.projected) at_.m[k] = buffers_.m + b * Hp_;
      at_.x_part[k] = plan_.tabled ? table_row(t, b) : x_part(t, b, i, step_of_chunk);
      if (call_.save && Cell::saved > 0) at_.saved[k] = gates(t, b);
      if constexpr (Cell::has_c) {
        at_.c[k] = in_place_ ? recurrence_.c_n + b * call_.H : c_row(c, t, b);
        at_.c_prev[k] = origin == Origin::step_before ? c_row(c_prev, t_prev, b) : c_start(origin, b);
      }
    }
    return n;
  }

  // W_ih x + b of the rows that are pointed at.
  void multiply_inputs(Range panels, Index rows) {
    multiply_rows(packed_.input, panels, at_.x, rows, [&](Index k, Index j, const Sum* sums) {
      for (int gate = 0; gate < Cell::gates; ++gate) {
        const V sum = convert<Compute>(load(sums + gate * kWidth<Sum>));
        store(at_.out[k] + gate * Hp_ + j, sum + load(packed_.x_bias + gate * Hp_ + j));
      }
    });
  }

  void multiply_projection(Index rows, Part part) {
    const auto& panels = packed_.projection;
    multiply_rows(panels, panels.of(part), at_.m, rows,
                  [&](Index k, Index j, const Sum* sum) { write_n<Sum>(at_.y[k] + j, load(sum), panels.lanes(j)); });
  }

  template <Pass pass>
  void multiply(Index rows, Range some) {
    const auto& panels = packed_.hidden;
    // The chain of operations to h is long: cut in two, more rows of a tile overlap.  One row has nothing to overlap
    // with.
    const bool apart = rows > 1;
    const auto cells = [&](Index k, Index j, Sum* sums) { cell<pass>(k, j, sums, apart); };
    if constexpr (Cell::has_c && pass != Pass::recompute) {
      multiply_rows<true>(panels, some, at_.h_prev, rows, cells, &kStart, [&](Index k, Index j, const Sum* sums) {
        if (apart) write_h(k, j, convert<Compute>(load(sums)), convert<Compute>(load(sums + kWidth<Sum>)));
      });
    } else {
      multiply_rows<pass != Pass::recompute>(panels, some, at_.h_prev, rows, cells);
    }
  }

  // One vector of units of one row, from unit j on.  What h is made from may replace the sums.
  template <Pass pass>
  [[gnu::always_inline]] void cell(Index k, Index j, Sum* sums, bool apart) {
    V x_part[Cell::gates], h_part[Cell::gates], saved[4];
    for (int gate = 0; gate < Cell::gates; ++gate) {
      x_part[gate] = load(at_.x_part[k] + gate * Hp_ + j);
      h_part[gate] = convert<Compute>(load(sums + gate * kWidth<Sum>));
    }
    const Index n = packed_.hidden.lanes(j);
    const UnitVectors<Cell, Compute> vectors(packed_.vectors + j, Hp_);
    const V h_prev = Cell::reads_h_prev ? read_n<Compute>(at_.h_prev[k] + j, n) : V{};
    const V c_prev = Cell::has_c ? load_n(at_.c_prev[k] + j, n) : V{};
    const StepOut<Compute> out = Cell::forward(x_part, h_part, vectors.of, h_prev, c_prev, saved);
    if constexpr (Cell::has_c) {
      pass == Pass::inference ? store_n(at_.c[k] + j, out.c, n) : store(at_.c[k] + j, out.c);
    }
    if constexpr (pass != Pass::recompute) {
      if (Cell::has_c && apart) {
        store(sums, convert<Sum>(out.h_gate)), store(sums + kWidth<Sum>, convert<Sum>(out.c));
      } else {
        write_h(k, j, out.h_gate, out.c);
      }
    }
    if constexpr (pass != Pass::inference) {
      for (int slot = 0; slot < Cell::saved; ++slot) write<Compute>(at_.saved[k] + slot * Hp_ + j, saved[slot]);
    }
  }

  [[gnu::always_inline]] void write_h(Index k, Index j, V h_gate, V c) const {
    const V h = output_of<Cell>(h_gate, c);
    if (plan_.projected) {
      write<Compute>(at_.m[k] + j, h);
    } else {
      write_n<Compute>(at_.y[k] + j, h, packed_.hidden.lanes(j));
    }
  }

  const Plan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const Share share_;
  const ForwardPointers<T>& at_;
  const bool shared_;    // the steps of the call are shared, and with them the buffers
  const bool in_place_;  // one step: c goes straight to c_n
  const StepBuffers<T>& buffers_;
  const RecurrenceOf<T>& recurrence_;
  const Packed<Cell, T>& packed_;
  const Index Hp_, segment_;
  const Timeline<T> timeline_;
  const Saved<T> saved_;
  Index n_;  // rows inside their sequence at the last step
};

// All recurrences.
template <class Cell, class T>
class Forward {
  using Item = ForwardRows<Cell, T>;

 public:
  Forward(const Plan<Cell, T>& plan, const Team& team) : plan_(plan), call_(plan.call), team_(team) {}

  void run() const {
    if (call_.division == Division::rows) {
      by_rows();
    } else {
      by_steps();
    }
  }

  // The gates and cells of steps s0 to s1, a segment; saved_of(which) is where they go.
  template <class SavedOf>
  void recompute(Index s0, Index s1, SavedOf saved_of) const {
    const Grid grid = plan_.grid(team_.members());
    team_.share(grid.items(), [&](Index item, int member) {
      const Index which = grid.recurrence(item);
      rows_of(grid, item, member, saved_of(which)).recompute(s0, s1, grid.panels(item));
    });
  }

 private:
  Saved<T> saved_of(Index which) const { return {call_.recurrence[which].gates, call_.recurrence[which].cells}; }

  Item rows_of(const Grid& grid, Index item, int member, const Saved<T>& saved) const {
    return {plan_, member, grid.recurrence(item), share_of_rows<T>(call_, grid.row_block(item), grid.blocks.rows),
            saved};
  }

  void by_rows() const {
    const Index steps = plan_.order.steps();
    Index s0 = 0;
    do {
      const Index members = team_.members(), s1 = min_of(s0 + stretch<T>(call_, members == team_.size), steps);
      const Grid grid = plan_.grid(members);
      team_.share(grid.items(), [&](Index item, int member) {
        Item rows = rows_of(grid, item, member, saved_of(grid.recurrence(item)));
        rows.run(s0, s1);
        if (s1 == steps) rows.last_states();
      });
      s0 = s1;
    } while (s0 < steps);
  }

  void by_steps() const {
    const Index steps = plan_.order.steps(), chunk = chunk_steps(call_.B);
    for (Index s = 0; s < steps; ++s) {
      const Grid grid = plan_.grid(team_.members());
      team_.share(grid.items(), [&](Index item, int member) {
        Item rows = rows_of(grid, item, member, saved_of(grid.recurrence(item)));
        if (s % chunk == 0) rows.input_products(s, min_of(s + chunk, steps), grid.panels(item));
        rows.step(s, s % chunk, grid.panels(item));
      });
      if (plan_.projected) {
        team_.share(grid.items(), [&](Index item, int member) {
          rows_of(grid, item, member, saved_of(grid.recurrence(item))).project(s, grid.panels(item));
        });
      }
    }
    for (Index which = 0; which < call_.recurrences; ++which) {
      Item(plan_, 0, which, all_rows(call_.B), saved_of(which)).last_states();
    }
  }

  const Plan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Team& team_;
};

template <class Cell, class T>
void forward_of(const CallOf<T>& call, void* scratch, const Team& team) {
  Arena arena(scratch);
  Plan<Cell, T> plan(call, team.size, arena);
  plan.arrange();
  plan.pack(team);
  Forward<Cell, T>(plan, team).run();
}

// A call of one step that is run again and again: laid out and arranged once, on weights that are packed once.
template <class Cell, class T>
class OneStep {
 public:
  OneStep(const CallOf<T>& call, Arena& own, Arena& weights) : plan_(call, 1, own, weights) {}

  void arrange() {
    plan_.arrange();
    rows().point_once();
  }
  void pack() { plan_.pack(Team{}); }
  void run() const { rows().again(); }

 private:
  ForwardRows<Cell, T> rows() const { return {plan_, 0, 0, all_rows(plan_.call.B), {}}; }

  Plan<Cell, T> plan_;
};
