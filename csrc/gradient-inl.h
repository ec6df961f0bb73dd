// SPDX-License-Identifier: Apache-2.0
// The sums over the rows of a chunk: dW = da^T [x, h_{t-1}], db, and dx = W_ih^T da.  The outputs, not the rows, are
// divided among the threads, so each element is summed by one thread in one order.

template <class Cell, class Real>
class ChunkSums {
 public:
  ChunkSums(const BackPlan<Cell, Real>& plan, const Team& team)
      : plan_(plan), call_(plan.call), order_(plan.order), team_(team), own_(plan.sums[team.id]), Hp_(plan.Hp) {
    for (int gate = 0; gate < Cell::gates; ++gate) {
      input_at_[gate] = Cell::input_slot(gate) * Hp_;
      hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
    }
  }

  // Steps s1 - 1 down to s0 of one net.
  void run(Index which, Index s0, Index s1) {
    net_ = &call_.net[which];
    grad_ = &call_.gradients[which];
    back_ = &plan_.nets[which];
    gather(s0, s1);
    const Blocks blocks{own_.block_ends, blocks_};
    if (grad_->weights.W_ih) {
      if (plan_.by_symbol) {
        scatter_symbols();
      } else {
        add_outer_products(own_.da_rows, input_at_, Cell::gates, call_.H, own_.x_rows, call_.I, blocks, own_.right,
                           team_, grad_->weights.W_ih);
      }
      add_outer_products(own_.da_rows, hidden_at_, Cell::gates, call_.H, own_.h_rows, call_.P, blocks, own_.right,
                         team_, grad_->weights.W_hh);
      add_rows(own_.da_rows, Cell::slots * Hp_, blocks, team_, back_->db);
      if (plan_.projected) add_projection(s0, s1);
    }
    if (grad_->dx.data) input_gradients();
  }

  // After the last chunk: what was summed in scratch goes to the caller.
  void finish(Index which) {
    grad_ = &call_.gradients[which];
    back_ = &plan_.nets[which];
    const Index H = call_.H;
    if (grad_->weights.W_ih) {
      const Range rows(Cell::gates * H, team_.id, team_.size);
      for (Index g = rows.begin; g < rows.end; ++g) {
        const int gate = static_cast<int>(g / H);
        const Index j = g % H;
        if (grad_->weights.b_ih) grad_->weights.b_ih[g] = back_->db[Cell::input_slot(gate) * Hp_ + j];
        if (grad_->weights.b_hh) grad_->weights.b_hh[g] = back_->db[Cell::hidden_slot(gate) * Hp_ + j];
        if (plan_.by_symbol) {
          for (Index s = 0; s < call_.I; ++s) {
            grad_->weights.W_ih[g * call_.I + s] = back_->dW_t[(s * Cell::gates + gate) * Hp_ + j];
          }
        }
      }
    }
    if (grad_->dh_0) initial_states();
    if (grad_->dc_0) {
      const Range rows(call_.B, team_.id, team_.size);
      for (Index b = rows.begin; b < rows.end; ++b) {
        // A sequence of length zero hands dc_n through.
        const Real* dc = order_.length[b] > 0 ? back_->dc_start : back_->dc;
        for (Index j = 0; j < H; ++j) grad_->dc_0[b * H + j] = dc[b * Hp_ + j];
      }
    }
  }

 private:
  // The rows of the chunk in the order of the sums: the last step first, rows in their order.
  void gather(Index s0, Index s1) {
    const Share all{0, 1, call_.B, 0, 1, false};
    rows_ = blocks_ = 0;
    Index n = 0;
    for (Index s = s1; s-- > s0;) {
      const Index t = net_->reverse ? order_.steps() - 1 - s : s, t_prev = net_->reverse ? t + 1 : t - 1;
      n = order_.active(all, t, n);
      for (Index k = 0; k < n; ++k, ++rows_) {
        const Index b = order_.order[k];
        const bool initial = t == (net_->reverse ? order_.length[b] - 1 : 0) || order_.resets(t, b);
        own_.da_rows[rows_] = back_->da + plan_.ring(s, b) * Cell::slots * Hp_;
        own_.h_rows[rows_] = !initial    ? order_.row(net_->y, t_prev, b)
                             : net_->h_0 ? net_->h_0 + b * call_.P
                                         : plan_.zeros;
        if (plan_.by_symbol) {
          own_.symbol_rows[rows_] = order_.row(net_->symbols, t, b);
        } else {
          own_.x_rows[rows_] = order_.row(net_->x, t, b);
        }
        if (grad_->dx.data) own_.dx_rows[rows_] = order_.row(grad_->dx, t, b);
      }
      if ((s1 - s) % plan_.block == 0 || s == s0) own_.block_ends[blocks_++] = rows_;
    }
    for (Index k = 0; k < kAhead; ++k) own_.da_rows[rows_ + k] = own_.x_rows[rows_ + k] = plan_.zeros;
  }

  // dW_hr = dp^T m
  void add_projection(Index s0, Index s1) {
    Index k = 0, n = 0;
    const Share all{0, 1, call_.B, 0, 1, false};
    for (Index s = s1; s-- > s0;) {
      n = order_.active(all, net_->reverse ? order_.steps() - 1 - s : s, n);
      for (Index i = 0; i < n; ++i, ++k) {
        const Index at = plan_.ring(s, order_.order[i]);
        own_.x_rows[k] = back_->dp + at * plan_.Pp;
        own_.h_rows[k] = back_->m + at * Hp_;
      }
    }
    add_outer_products(own_.x_rows, &kStart, 1, call_.P, own_.h_rows, call_.H, {own_.block_ends, blocks_}, own_.right,
                       team_, grad_->weights.W_hr);
  }

  // dW_ih for one-hot input: da goes to the column of its symbol.
  void scatter_symbols() {
    const Index vectors_of_gate = Hp_ / kWidth<Real>;
    const Range vectors(Cell::gates * vectors_of_gate, team_.id, team_.size);
    for (Index k = 0; k < rows_; ++k) {
      Real* to = back_->dW_t + *own_.symbol_rows[k] * Cell::gates * Hp_;
      for (Index v = vectors.begin; v < vectors.end; ++v) {
        const int gate = static_cast<int>(v / vectors_of_gate);
        const Index j = v % vectors_of_gate * kWidth<Real>;
        Real* column = to + gate * Hp_ + j;
        store(column, load(column) + load(own_.da_rows[k] + Cell::input_slot(gate) * Hp_ + j));
      }
    }
  }

  void input_gradients() {
    const Range rows(rows_, team_.id, team_.size);
    const auto add = [&](Index r, Index j, Index n, Vec<Real> sum) {
      Real* to = own_.dx_rows[rows.begin + r] + j;
      store_n(to, grad_->add_to_dx ? load_n(to, n) + sum : sum, n);
    };
    multiply_rows(back_->input, own_.da_rows + rows.begin, input_at_, Cell::gates, rows.end - rows.begin, add);
  }

  // dh_0 = W_hh^T (da summed over the starts), and the direct part.
  void initial_states() {
    const Range rows(call_.B, team_.id, team_.size);
    for (Index b = rows.begin; b < rows.end; ++b) {
      const Real* da = back_->da_start + b * Cell::slots * Hp_;
      // A sequence of length zero hands dh_n through.
      const Real* direct = order_.length[b] > 0 ? back_->dh_start : back_->dh;
      multiply_rows(back_->hidden, &da, hidden_at_, Cell::gates, 1, [&](Index, Index j, Index n, Vec<Real> sum) {
        store_n(grad_->dh_0 + b * call_.P + j, sum + load(direct + b * plan_.Pp + j), n);
      });
    }
  }

  const BackPlan<Cell, Real>& plan_;
  const Call<Real>& call_;
  const Order<Real>& order_;
  const Team& team_;
  const SumBuffers<Real>& own_;
  const Index Hp_;
  const Net<Real>* net_ = nullptr;
  const Gradients<Real>* grad_ = nullptr;
  const BackNet<Real>* back_ = nullptr;
  Index input_at_[Cell::gates], hidden_at_[Cell::gates];
  Index rows_ = 0, blocks_ = 0;
};

// Where the gates and cells of steps s0 to s1 are, a segment or the whole walk.
template <class Cell, class Real>
Kept<Real> kept_of(const BackPlan<Cell, Real>& plan, Index which, Index s0, Index s1) {
  const Call<Real>& call = plan.call;
  const Net<Real>& net = call.net[which];
  if (!call.segment) return {net.gates, net.cells};
  const Order<Real>& order = plan.order;
  const Index first = order.place[net.reverse ? order.steps() - s1 : s0];  // in order of time
  const Index rows = call.batch_sizes ? 1 : call.B;                        // ... of a place
  const auto window = [&](Real* data, Index width) {
    return Rows<Real>{data - first * rows * width, rows * width, width};
  };
  const Index edge = (order.steps() - s0) / plan.segment - 1;
  return {window(plan.nets[which].gates, Cell::saved * plan.Hp), window(plan.nets[which].cells, plan.Hp), s0,
          net.cells.data + edge * net.cells.time_stride};
}

// The whole way back, segment by segment from the last; `gates_of(s0, s1)` sees to the gates of a segment.
template <class Cell, class Real, class GatesOf>
void walk_back(const BackPlan<Cell, Real>& plan, Index segment, const Team& team, GatesOf gates_of) {
  const Call<Real>& call = plan.call;
  plan.prepare(team);
  BackWalk<Cell, Real> walk(plan, team);
  ChunkSums<Cell, Real> sums(plan, team);
  for (Index end = plan.order.steps(); end > 0;) {
    const Index begin = end > segment ? end - segment : 0;
    gates_of(begin, end);
    for (Index s1 = end; s1 > begin;) {
      const Index s0 = s1 - begin > plan.chunk ? s1 - plan.chunk : begin;
      for (Index k = 0; k < call.nets; ++k) {
        if (walks_net(plan.division, k, team)) walk.run(k, s0, s1, kept_of(plan, k, begin, end));
      }
      team.wait();
      for (Index k = 0; k < call.nets; ++k) {
        sums.run(k, s0, s1);
        if (call.gradients[k].add_to_dx) team.wait();  // the next net adds to the same rows
      }
      team.wait();
      s1 = s0;
    }
    end = begin;
  }
  for (Index k = 0; k < call.nets; ++k) sums.finish(k);
}

template <class Cell, class Real>
void backward_of(const Call<Real>& call, void* scratch, const Team& team) {
  Arena arena(scratch);
  const BackPlan<Cell, Real> plan(call, team.size, arena, team.id == 0);
  if (!call.segment) {
    walk_back(plan, call.T, team, [](Index, Index) {});
    return;
  }
  const Plan<Cell, Real> forward(call, team.size, arena, team.id == 0);
  forward.arrange(team);
  forward.pack(team);
  ForwardWalk<Cell, Real> walk(forward, team);
  walk_back(plan, plan.segment, team, [&](Index s0, Index s1) {
    for (Index k = 0; k < call.nets; ++k) {
      if (walks_net(forward.division, k, team)) walk.again(k, s0, s1, kept_of(plan, k, s0, s1));
    }
    team.wait();
  });
}
