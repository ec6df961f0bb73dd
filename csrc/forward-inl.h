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

template <class Cell, class T>
class Forward {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;
  using V = Vec<Compute>;

 public:
  Forward(const Plan<Cell, T>& plan, const Team& team)
      : plan_(plan), call_(plan.call), order_(plan.order), team_(team),
        share_(choose_share<T>(plan.call, plan.division, team)), at_(plan.rows[team.id]),
        buffers_(plan.buffers_of(team)), Hp_(plan.Hp), segment_(segment_steps<T>(plan.call)) {}

  // All steps of one recurrence.
  void run(Index which) {
    begin(which, {call_.recurrence[which].gates, call_.recurrence[which].cells});
    Index n = 0;
    for (Index s0 = 0; s0 < order_.steps(); s0 += plan_.chunk) {
      const Index s1 = min_of(s0 + plan_.chunk, order_.steps());
      if (!plan_.tabled) input_products(s0, s1, n);
      for (Index s = s0; s < s1; ++s) {
        const Index t = timeline_.time(s);
        n = order_.active(share_, t, n);
        point(s, s - s0, 0, n);
        if (call_.save) {
          step<Pass::training>(n);
        } else {
          step<Pass::inference>(n);
        }
        if (share_.together) team_.wait();
        if (plan_.projected) {
          project(n);
          if (share_.together) team_.wait();
        }
      }
    }
    last_states();
  }

  // The gates and cells of steps s0 to s1, a segment, from x and y.
  void recompute(Index which, Index s0, Index s1, const Saved<T>& saved) {
    begin(which, saved);
    Index n = 0;
    for (Index end; s0 < s1; s0 = end) {
      end = min_of(s0 + plan_.chunk, s1);
      if (!plan_.tabled) input_products(s0, end, n);
      Index rows = 0;
      for (Index s = s0; s < end; ++s, rows += n) {
        n = order_.active(share_, timeline_.time(s), n);
        point(s, s - s0, rows, n);
      }
      step<Pass::recompute>(rows);
    }
  }

 private:
  void begin(Index which, const Saved<T>& saved) {
    recurrence_ = &call_.recurrence[which];
    packed_ = &plan_.packed[which];
    timeline_ = {&order_, recurrence_, plan_.no_h};
    saved_ = saved;
  }

  Storage* gates(Index t, Index b) const { return order_.row(saved_.gates, t, b, saved_.first); }

  Compute* x_part(Index t, Index b, Index step_of_chunk) const {
    if constexpr (Plan<Cell, T>::x_in_gates) {
      if (call_.save) return gates(t, b);
    }
    return buffers_.x_part + (step_of_chunk * call_.B + b) * Cell::gates * Hp_;
  }

  void input_products(Index s0, Index s1, Index n) {
    Index rows = 0;
    for (Index s = s0; s < s1; ++s) {
      const Index t = timeline_.time(s);
      n = order_.active(share_, t, n);
      for (Index k = 0; k < n; ++k, ++rows) {
        const Index b = order_.row_of(share_, k);
        at_.out[rows] = x_part(t, b, s - s0);
        if (!plan_.by_symbol) {
          at_.x[rows] = order_.row(recurrence_->x, t, b);
        } else if (share_.part == 0) {
          plan_.symbol_product(recurrence_->weights.W_ih, packed_->x_bias, *order_.row(recurrence_->symbols, t, b),
                               at_.out[rows]);
        }
      }
    }
    if (plan_.by_symbol) {
      if (share_.together) team_.wait();
      return;
    }
    const auto& panels = packed_->input;
    multiply_rows(panels, share_.panels(panels.count), at_.x, rows, [&](Index k, Index j, const Sum* sums) {
      for (int gate = 0; gate < Cell::gates; ++gate) {
        const V sum = convert<Compute>(load(sums + gate * kWidth<Sum>));
        store(at_.out[k] + gate * Hp_ + j, sum + load(packed_->x_bias + gate * Hp_ + j));
      }
    });
  }

  // c of all rows after step s, (B, Hp); null where every step has its own.
  Compute* c_after(Index s) const {
    if (call_.save) return saved_.before(s + 1);
    const Index to_end = order_.steps() - 1 - s;
    const bool edge = call_.segment && to_end > 0 && to_end % segment_ == 0;
    return edge ? recurrence_->cells.data + (to_end / segment_ - 1) * recurrence_->cells.time_stride : packed_->c;
  }
  Compute* c_row(Compute* all, Index t, Index b) const {
    return all ? all + b * Hp_ : order_.row(saved_.cells, t, b, saved_.first);
  }
  const Compute* c_start(Origin origin, Index b) const { return packed_->c_start.row(origin, b * Hp_, plan_.zeros); }

  // Where each of n rows of step s reads and writes; their places among those of the pass start at `first`.
  void point(Index s, Index step_of_chunk, Index first, Index n) {
    const Index t = timeline_.time(s), t_prev = timeline_.time_before(t);
    Compute *const c = Cell::has_c ? c_after(s) : nullptr, *const c_prev = Cell::has_c ? c_after(s - 1) : nullptr;
    for (Index i = 0; i < n; ++i) {
      const Index b = order_.row_of(share_, i), k = first + i;
      const Origin origin = timeline_.origin(t, b);
      at_.h_prev[k] = timeline_.h_prev(t, b, origin);
      at_.y[k] = order_.row(recurrence_->y, t, b);
      if (plan_.projected) at_.m[k] = buffers_.m + b * Hp_;
      at_.x_part[k] = plan_.tabled ? packed_->table + *order_.row(recurrence_->symbols, t, b) * Cell::gates * Hp_
                                   : x_part(t, b, step_of_chunk);
      if (call_.save && Cell::saved > 0) at_.saved[k] = gates(t, b);
      if constexpr (Cell::has_c) {
        at_.c[k] = c_row(c, t, b);
        at_.c_prev[k] = origin == Origin::step_before ? c_row(c_prev, t_prev, b) : c_start(origin, b);
      }
    }
  }

  template <Pass pass>
  void step(Index rows) {
    const auto& panels = packed_->hidden;
    multiply_rows(panels, share_.panels(panels.count), at_.h_prev, rows,
                  [&](Index k, Index j, const Sum* sums) { cell<pass>(k, j, sums); });
  }

  // One vector of units of one row, from unit j on.
  template <Pass pass>
  [[gnu::always_inline]] void cell(Index k, Index j, const Sum* sums) {
    V x_part[Cell::gates], h_part[Cell::gates], saved[4];
    for (int gate = 0; gate < Cell::gates; ++gate) {
      x_part[gate] = load(at_.x_part[k] + gate * Hp_ + j);
      h_part[gate] = convert<Compute>(load(sums + gate * kWidth<Sum>));
    }
    const Index n = packed_->hidden.lanes(j);
    const UnitVectors<Cell, Compute> vectors(packed_->vectors + j, Hp_);
    const V h_prev = Cell::reads_h_prev ? read_n<Compute>(at_.h_prev[k] + j, n) : V{};
    const V c_prev = Cell::has_c ? load(at_.c_prev[k] + j) : V{};
    const StepOut<Compute> out = Cell::forward(x_part, h_part, vectors.of, h_prev, c_prev, saved);
    if constexpr (pass != Pass::recompute) {
      if (plan_.projected) {
        store(at_.m[k] + j, out.h);
      } else {
        write_n<Compute>(at_.y[k] + j, out.h, n);
      }
    }
    if constexpr (Cell::has_c) store(at_.c[k] + j, out.c);
    if constexpr (pass != Pass::inference) {
      for (int slot = 0; slot < Cell::saved; ++slot) write<Compute>(at_.saved[k] + slot * Hp_ + j, saved[slot]);
    }
  }

  // h_t = W_hr m_t
  void project(Index rows) {
    const auto& panels = packed_->projection;
    multiply_rows(panels, share_.panels(panels.count), at_.m, rows,
                  [&](Index k, Index j, const Sum* sum) { write_n<Sum>(at_.y[k] + j, load(sum), panels.lanes(j)); });
  }

  void last_states() {
    for (Index k = share_.part; k < share_.rows; k += share_.parts) {
      const Index b = order_.row_of(share_, k);
      const bool moved = order_.length[b] > 0;
      const Index s = moved ? timeline_.last_step(b) : 0, t = timeline_.time(s);
      const Storage* h = moved ? timeline_.h(t, b) : timeline_.h_start(Origin::initial, b);
      for (Index j = 0; j < call_.P; ++j) recurrence_->h_n[b * call_.P + j] = h[j];
      if constexpr (Cell::has_c) {
        const Compute* c = moved ? c_row(c_after(s), t, b) : c_start(Origin::initial, b);
        for (Index j = 0; j < call_.H; ++j) recurrence_->c_n[b * call_.H + j] = static_cast<Storage>(c[j]);
      }
    }
  }

  const Plan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const Team& team_;
  const Share share_;
  const StepRows<T>& at_;
  const StepBuffers<T>& buffers_;
  const Index Hp_, segment_;
  const RecurrenceOf<T>* recurrence_ = nullptr;
  const Packed<Cell, T>* packed_ = nullptr;
  Timeline<T> timeline_;
  Saved<T> saved_;
};

template <class Cell, class T>
void forward_of(const CallOf<T>& call, void* scratch, const Team& team, bool packed) {
  Arena arena(scratch);
  Plan<Cell, T> plan(call, team.size, arena, team.id == 0);
  plan.arrange(team);
  if (!packed) plan.pack(team);
  Forward<Cell, T> forward(plan, team);
  for (Index k = 0; k < call.recurrences; ++k) {
    if (has_recurrence(plan.division, k, team)) forward.run(k);
  }
}
