// SPDX-License-Identifier: Apache-2.0
// The sums over the rows of a chunk: dW = da^T [x, h_{t-1}], db, and dx = W_ih^T da.  The outputs, not the rows, are
// divided among the threads, so each element is summed by one thread in one order.

template <class Cell, class T>
class ChunkSums {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;

 public:
  ChunkSums(const BackwardPlan<Cell, T>& plan, const Team& team)
      : plan_(plan), call_(plan.call), order_(plan.order), team_(team), own_(plan.sums[team.id]), Hp_(plan.Hp) {
    for (int gate = 0; gate < Cell::gates; ++gate) {
      input_at_[gate] = Cell::input_slot(gate) * Hp_;
      hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
    }
  }

  // Steps s1 - 1 down to s0 of one recurrence.
  void run(Index which, Index s0, Index s1) {
    recurrence_ = &call_.recurrence[which];
    gradients_ = &call_.gradients[which];
    buffers_ = &plan_.buffers[which];
    timeline_ = {&order_, recurrence_, plan_.no_h};
    gather(s0, s1);
    const Blocks blocks{own_.block_ends, blocks_};
    if (gradients_->weights.W_ih) {
      if (plan_.by_symbol) {
        scatter_symbols();
      } else {
        add_outer_products<Sum>(own_.da_rows, input_at_, Cell::gates, call_.H, own_.x_rows, call_.I, blocks, own_.right,
                                team_, buffers_->dW_ih);
      }
      add_outer_products<Sum>(own_.da_rows, hidden_at_, Cell::gates, call_.H, own_.h_rows, call_.P, blocks, own_.right,
                              team_, buffers_->dW_hh);
      add_rows(own_.da_rows, Cell::slots * Hp_, blocks, team_, buffers_->db);
      if (plan_.projected) add_projection(s0, s1);
    }
    if (gradients_->dx.data) input_gradients();
  }

  // After the last chunk: copies what was summed in scratch to the caller's arrays.
  void finish(Index which) {
    gradients_ = &call_.gradients[which];
    buffers_ = &plan_.buffers[which];
    if (gradients_->weights.W_ih) finish_weights();
    // The final state of a sequence of length zero is its initial one: dh_0 is dh_n, dc_0 is dc_n.
    finish_start(buffers_->initial, buffers_->dh, buffers_->dc, gradients_->dh_0, gradients_->dc_0);
    const StartSums<Compute>& reset = buffers_->reset;
    finish_start(reset, reset.dh, reset.dc, gradients_->dh_reset, gradients_->dc_reset);
  }

 private:
  void finish_weights() {
    const Weights<Storage>& to = gradients_->weights;
    const Index H = call_.H;
    const auto db = [&](int slot, Index j) { return static_cast<Storage>(buffers_->db[slot * Hp_ + j]); };
    const Range rows(Cell::gates * H, team_.id, team_.size);
    for (Index g = rows.begin; g < rows.end; ++g) {
      const int gate = static_cast<int>(g / H), in = Cell::input_slot(gate), hidden = Cell::hidden_slot(gate);
      const Index j = g % H;
      if (to.b_ih) to.b_ih[g] = db(in, j);
      if (to.b_hh && in == hidden) to.b_hh[g] = db(hidden, j);  // else it is a per-unit vector
      for (Index s = 0; plan_.by_symbol && s < call_.I; ++s) {
        to.W_ih[g * call_.I + s] = static_cast<Storage>(buffers_->dW_t[(s * Cell::gates + gate) * Hp_ + j]);
      }
    }
    if constexpr (!__is_same(Storage, Sum)) {
      if (!plan_.by_symbol) copy(to.W_ih, buffers_->dW_ih, Cell::gates * H * call_.I);
      copy(to.W_hh, buffers_->dW_hh, Cell::gates * H * call_.P);
      if (plan_.projected) copy(to.W_hr, buffers_->dW_hr, call_.P * H);
    }
    if constexpr (Cell::vectors > 0) {
      const Range units(H, team_.id, team_.size);
      for (int k = 0; k < Cell::vectors; ++k) {
        Storage* vector = Cell::vector_of(to, H, k);
        for (Index j = units.begin; vector && j < units.end; ++j) vector[j] = db(Cell::vector_slot(k), j);
      }
    }
  }

  void copy(Storage* to, const Sum* from, Index n) const {
    const Range mine(n, team_.id, team_.size);
    for (Index k = mine.begin; k < mine.end; ++k) to[k] = static_cast<Storage>(from[k]);
  }

  // visit(s, t, b) for the rows of the chunk in the order of the sums: the last step first, rows in their order.
  template <class Visit, class End>
  void for_each_row(Index s0, Index s1, Visit visit, End end_of_step) const {
    const Share all = all_rows(call_.B);
    Index n = 0;
    for (Index s = s1; s-- > s0; end_of_step(s)) {
      const Index t = timeline_.time(s);
      n = order_.active(all, t, n);
      for (Index k = 0; k < n; ++k) visit(s, t, order_.order[k]);
    }
  }

  void gather(Index s0, Index s1) {
    rows_ = blocks_ = 0;
    const auto row = [&](Index s, Index t, Index b) {
      own_.da_rows[rows_] = buffers_->da + plan_.ring(s, b) * Cell::slots * Hp_;
      own_.h_rows[rows_] = timeline_.h_prev(t, b, timeline_.origin(t, b));
      if (plan_.by_symbol) {
        own_.symbol_rows[rows_] = order_.row(recurrence_->symbols, t, b);
      } else {
        own_.x_rows[rows_] = order_.row(recurrence_->x, t, b);
      }
      if (gradients_->dx.data) own_.dx_rows[rows_] = order_.row(gradients_->dx, t, b);
      ++rows_;
    };
    for_each_row(s0, s1, row, [&](Index s) {
      if ((s1 - s) % plan_.block == 0 || s == s0) own_.block_ends[blocks_++] = rows_;
    });
    for (Index k = 0; k < kAhead; ++k) own_.da_rows[rows_ + k] = plan_.zeros;
  }

  // dW_hr = dp^T m
  void add_projection(Index s0, Index s1) {
    Index k = 0;
    const auto row = [&](Index s, Index, Index b) {
      own_.dp_rows[k] = buffers_->dp + plan_.ring(s, b) * plan_.Pp;
      own_.m_rows[k++] = buffers_->m + plan_.ring(s, b) * Hp_;
    };
    for_each_row(s0, s1, row, [](Index) {});
    for (Index ahead = 0; ahead < kAhead; ++ahead) own_.dp_rows[k + ahead] = plan_.zeros;
    add_outer_products<Sum>(own_.dp_rows, &kStart, 1, call_.P, own_.m_rows, call_.H, {own_.block_ends, blocks_},
                            own_.right, team_, buffers_->dW_hr);
  }

  // dW_ih for one-hot input: da goes to the column of its symbol.
  void scatter_symbols() {
    const Index vectors_of_gate = Hp_ / kWidth<Sum>;
    const Range vectors(Cell::gates * vectors_of_gate, team_.id, team_.size);
    for (Index k = 0; k < rows_; ++k) {
      Sum* to = buffers_->dW_t + *own_.symbol_rows[k] * Cell::gates * Hp_;
      for (Index v = vectors.begin; v < vectors.end; ++v) {
        const int gate = static_cast<int>(v / vectors_of_gate);
        const Index j = v % vectors_of_gate * kWidth<Sum>;
        Sum* column = to + gate * Hp_ + j;
        store(column, load(column) + read<Sum>(own_.da_rows[k] + Cell::input_slot(gate) * Hp_ + j));
      }
    }
  }

  // dx = W_ih^T da
  void input_gradients() {
    const Range rows(rows_, team_.id, team_.size);
    const auto& panels = buffers_->input;
    const auto write_dx = [&](Index r, Index j, const Sum* sum) {
      Storage* to = own_.dx_rows[rows.begin + r] + j;
      const Index n = panels.lanes(j);
      const auto dx = convert<Compute>(load(sum));
      write_n<Compute>(to, gradients_->add_to_dx ? read_n<Compute>(to, n) + dx : dx, n);
    };
    multiply_rows(panels, panels.whole(), own_.da_rows + rows.begin, rows.end - rows.begin, write_dx, input_at_,
                  Cell::gates);
  }

  // dh = W_hh^T (da summed over the steps that start from a state), and the direct part; dc.
  // dh_of_none and dc_of_none: of a sequence of length zero.
  void finish_start(const StartSums<Compute>& sums, const Compute* dh_of_none, const Compute* dc_of_none, Storage* dh,
                    Storage* dc) {
    const Range rows(call_.B, team_.id, team_.size);
    const auto& panels = buffers_->hidden;
    for (Index b = rows.begin; b < rows.end; ++b) {
      const bool none = order_.length[b] == 0;
      if (dh) {
        const Compute* da = sums.da + b * Cell::slots * Hp_;
        const Compute* direct = (none ? dh_of_none : sums.dh) + b * plan_.Pp;
        const auto write_dh = [&](Index, Index j, const Sum* sum) {
          const auto total = convert<Compute>(load(sum)) + load(direct + j);
          write_n<Compute>(dh + b * call_.P + j, total, panels.lanes(j));
        };
        multiply_rows(panels, panels.whole(), &da, 1, write_dh, hidden_at_, Cell::gates);
      }
      for (Index j = 0; dc && j < call_.H; ++j) {
        dc[b * call_.H + j] = static_cast<Storage>((none ? dc_of_none : sums.dc)[b * Hp_ + j]);
      }
    }
  }

  const BackwardPlan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const Team& team_;
  const SumBuffers<T>& own_;
  const Index Hp_;
  const RecurrenceOf<T>* recurrence_ = nullptr;
  const Gradients<Storage>* gradients_ = nullptr;
  const BackwardBuffers<T>* buffers_ = nullptr;
  Timeline<T> timeline_;
  Index input_at_[Cell::gates], hidden_at_[Cell::gates];
  Index rows_ = 0, blocks_ = 0;
};

// All steps, segment by segment from the last; `recompute(s0, s1)` restores the gates of a segment.
template <class Cell, class T, class Recompute>
void run_segments(BackwardPlan<Cell, T>& plan, Index segment, const Team& team, Recompute recompute) {
  const CallOf<T>& call = plan.call;
  plan.prepare(team);
  Backward<Cell, T> backward(plan, team);
  ChunkSums<Cell, T> sums(plan, team);
  for (Index end = plan.order.steps(); end > 0;) {
    const Index begin = max_of(end - segment, 0);
    recompute(begin, end);
    for (Index s1 = end; s1 > begin;) {
      const Index s0 = max_of(s1 - plan.chunk, begin);
      for (Index k = 0; k < call.recurrences; ++k) {
        if (has_recurrence(plan.division, k, team)) backward.run(k, s0, s1, plan.saved_of(k, begin, end));
      }
      team.wait();
      for (Index k = 0; k < call.recurrences; ++k) {
        sums.run(k, s0, s1);
        if (call.gradients[k].add_to_dx) team.wait();  // the next recurrence adds to the same rows
      }
      team.wait();
      s1 = s0;
    }
    end = begin;
  }
  for (Index k = 0; k < call.recurrences; ++k) sums.finish(k);
}

template <class Cell, class T>
void backward_of(const CallOf<T>& call, void* scratch, const Team& team) {
  Arena arena(scratch);
  BackwardPlan<Cell, T> plan(call, team.size, arena, team.id == 0);
  if (!call.segment) return run_segments(plan, call.T, team, [](Index, Index) {});
  Plan<Cell, T> forward_plan(call, team.size, arena, team.id == 0);
  forward_plan.arrange(team);
  forward_plan.pack(team);
  Forward<Cell, T> forward(forward_plan, team);
  run_segments(plan, plan.segment, team, [&](Index s0, Index s1) {
    for (Index k = 0; k < call.recurrences; ++k) {
      if (has_recurrence(forward_plan.division, k, team)) forward.recompute(k, s0, s1, plan.saved_of(k, s0, s1));
    }
    team.wait();
  });
}
