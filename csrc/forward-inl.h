// SPDX-License-Identifier: Apache-2.0
// The walk forward through time: the one time loop of all cells.
//
//   for each chunk of steps:   x_part = W_ih x + b        one product over all rows of the chunk
//     for each step:           h_part = W_hh h_{t-1}      one product over the rows of the step,
//                              h_t, c_t = cell(...)       and the cell while its sums are still in L1
//
// Where gates are kept, the activated ones overwrite x_part in the buffer that backward reads.

enum class Pass {
  inference,  // y and the last states
  training,   // and the gates and cells
  again,  // the gates and cells alone, of a segment: y is known, so all h_{t-1} of a chunk are, and the chunk is one
          // product.  Only c goes from step to step, unit by unit
};

template <class Cell, class Real>
class ForwardWalk {
 public:
  ForwardWalk(const Plan<Cell, Real>& plan, const Team& team)
      : plan_(plan), call_(plan.call), order_(plan.order), team_(team),
        share_(choose_share(plan.call, plan.division, team)), own_(plan.buffers[team.id]), walk_(plan.walk_of(team)),
        Hp_(plan.Hp), segment_(segment_steps(plan.call)) {}

  void run(Index which) {
    net_ = &call_.net[which];
    packed_ = &plan_.nets[which];
    kept_ = {net_->gates, net_->cells};
    Index n = 0;
    for (Index s0 = 0; s0 < order_.steps(); s0 += plan_.chunk) {
      const Index s1 = s0 + plan_.chunk < order_.steps() ? s0 + plan_.chunk : order_.steps();
      if (!plan_.tabled) input_products(s0, s1, n);
      for (Index s = s0; s < s1; ++s) {
        const Index t = time(s);
        n = order_.active(share_, t, n);
        point(s, s - s0, 0, n);
        if (call_.keep) {
          step<Pass::training>(n);
        } else {
          step<Pass::inference>(n);
        }
        if (share_.together) team_.wait();
        if (net_->weights.W_hr) {
          project(t, n);
          if (share_.together) team_.wait();
        }
      }
    }
    last_states();
  }

  // The gates and cells of steps s0 to s1, a segment, from x and y.
  void again(Index which, Index s0, Index s1, const Kept<Real>& kept) {
    net_ = &call_.net[which];
    packed_ = &plan_.nets[which];
    kept_ = kept;
    Index n = 0;
    for (Index end; s0 < s1; s0 = end) {
      end = s0 + plan_.chunk < s1 ? s0 + plan_.chunk : s1;
      if (!plan_.tabled) input_products(s0, end, n);
      Index rows = 0;
      for (Index s = s0; s < end; ++s, rows += n) {
        n = order_.active(share_, time(s), n);
        point(s, s - s0, rows, n);
      }
      step<Pass::again>(rows);
    }
  }

 private:
  Index time(Index s) const { return net_->reverse ? order_.steps() - 1 - s : s; }
  Index row(Index k) const { return order_.order[share_.first + k * share_.stride]; }
  bool starts(Index t, Index b) const { return t == (net_->reverse ? order_.length[b] - 1 : 0); }

  Real* x_part(Index t, Index b, Index step_of_chunk) const {
    if (call_.keep && Cell::saved > 0) return order_.row(kept_.gates, t, b);
    return walk_.x_part + (step_of_chunk * call_.B + b) * Cell::gates * Hp_;
  }

  void input_products(Index s0, Index s1, Index n) {
    Index rows = 0;
    for (Index s = s0; s < s1; ++s) {
      const Index t = time(s);
      n = order_.active(share_, t, n);
      for (Index k = 0; k < n; ++k, ++rows) {
        const Index b = row(k);
        own_.out_rows[rows] = x_part(t, b, s - s0);
        if (plan_.by_symbol) {
          if (share_.part == 0)
            plan_.symbol_product(*net_, *packed_, *order_.row(net_->symbols, t, b), own_.out_rows[rows]);
        } else {
          own_.x_rows[rows] = order_.row(net_->x, t, b);
        }
      }
    }
    if (plan_.by_symbol) {
      if (share_.together) team_.wait();
      return;
    }
    const Panels<Real>& panels = packed_->input;
    for (Index p = share_.begin(panels.count); p < share_.end(panels.count); ++p) {
      const int V = panels.vectors(p);
      const RowTiles tiles(rows, max_rows(V));
      for (Index i = 0; i < tiles.tiles; ++i) {
        const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
        tile_sums(sums_.data, own_.x_rows + r0, panels, p, R);
        for (Index r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) {
            const Index at = Cell::gates > 1 ? v * Hp_ + panels.first(p) : panels.first(p) + v * kWidth<Real>;
            store(own_.out_rows[r0 + r] + at, sum(r, v, V) + load(packed_->x_bias + at));
          }
        }
      }
    }
  }

  Vec<Real> sum(Index r, int v, int V) const { return load(sums_.data + (r * V + v) * kWidth<Real>); }

  // c of all rows after step s of the walk, (B, Hp); null where every step keeps its own.
  Real* c_after(Index s) const {
    if (call_.keep) return kept_.before(s + 1);
    const Index to_end = order_.steps() - 1 - s;
    const bool edge = call_.segment && to_end > 0 && to_end % segment_ == 0;
    return edge ? net_->cells.data + (to_end / segment_ - 1) * net_->cells.time_stride : packed_->c;
  }
  Real* c_row(Real* all, Index t, Index b) const { return all ? all + b * Hp_ : order_.row(kept_.cells, t, b); }

  // Where each of n rows of step s reads and writes; their places among those of the pass start at `first`.
  void point(Index s, Index step_of_chunk, Index first, Index n) {
    const Index t = time(s), t_prev = net_->reverse ? t + 1 : t - 1;
    const StepRows<Real>& at = own_.step;
    Real *const c = Cell::has_c ? c_after(s) : nullptr, *const c_prev = Cell::has_c ? c_after(s - 1) : nullptr;
    for (Index i = 0; i < n; ++i) {
      const Index b = row(i), k = first + i;
      const bool initial = starts(t, b) || order_.resets(t, b);
      at.h_prev[k] = !initial ? order_.row(net_->y, t_prev, b) : net_->h_0 ? net_->h_0 + b * call_.P : plan_.zeros;
      at.h[k] = net_->weights.W_hr ? walk_.m + b * Hp_ : order_.row(net_->y, t, b);
      at.x_part[k] = plan_.tabled ? packed_->table + *order_.row(net_->symbols, t, b) * Cell::gates * Hp_
                                  : x_part(t, b, step_of_chunk);
      if (call_.keep && Cell::saved > 0) at.keep[k] = order_.row(kept_.gates, t, b);
      if constexpr (Cell::has_c) {
        Real* c_0 = packed_->c_0 ? packed_->c_0 + b * Hp_ : plan_.zeros;
        at.c[k] = c_row(c, t, b);
        at.c_prev[k] = initial ? c_0 : c_row(c_prev, t_prev, b);
      }
    }
  }

  template <Pass pass>
  void step(Index n) {
    const StepRows<Real>& at = own_.step;
    const Panels<Real>& panels = packed_->hidden;
    for (Index p = share_.begin(panels.count); p < share_.end(panels.count); ++p) {
      const int V = panels.vectors(p);
      const RowTiles tiles(n, max_rows(V));
      for (Index i = 0; i < tiles.tiles; ++i) {
        const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
        tile_sums(sums_.data, at.h_prev + r0, panels, p, R);
        for (Index r = 0; r < R; ++r) {
          for (int u = 0; u < V / Cell::gates; ++u) cell<pass>(r0 + r, panels.first(p) + u * kWidth<Real>, r, u, V);
        }
      }
    }
  }

  // One vector of units of one row, from unit j on.
  template <Pass pass>
  void cell(Index k, Index j, Index r, int u, int V) {
    const StepRows<Real>& at = own_.step;
    const Index n = call_.H - j < kWidth<Real> ? call_.H - j : kWidth<Real>;
    Vec<Real> x_part[Cell::gates], h_part[Cell::gates], keep[4];
    for (int gate = 0; gate < Cell::gates; ++gate) {
      x_part[gate] = load(at.x_part[k] + gate * Hp_ + j);
      h_part[gate] = sum(r, u * Cell::gates + gate, V);
    }
    const Vec<Real> b_hn = Cell::kind == CellKind::gru ? load(packed_->b_hn + j) : Vec<Real>{};
    const Vec<Real> h_prev = Cell::reads_h_prev ? load_n(at.h_prev[k] + j, n) : Vec<Real>{};
    const Vec<Real> c_prev = Cell::has_c ? load(at.c_prev[k] + j) : Vec<Real>{};
    const StepOut<Real> out = Cell::forward(x_part, h_part, b_hn, h_prev, c_prev, keep);
    if constexpr (pass != Pass::again) {
      if (net_->weights.W_hr) {
        store(at.h[k] + j, out.h);
      } else {
        store_n(at.h[k] + j, out.h, n);
      }
    }
    if constexpr (Cell::has_c) store(at.c[k] + j, out.c);
    if constexpr (pass != Pass::inference) {
      for (int slot = 0; slot < Cell::saved; ++slot) store(at.keep[k] + slot * Hp_ + j, keep[slot]);
    }
  }

  // h_t = W_hr m_t
  void project(Index t, Index n) {
    const StepRows<Real>& at = own_.step;
    const Panels<Real>& panels = packed_->projection;
    for (Index p = share_.begin(panels.count); p < share_.end(panels.count); ++p) {
      const int V = panels.vectors(p);
      const RowTiles tiles(n, max_rows(V));
      for (Index i = 0; i < tiles.tiles; ++i) {
        const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
        tile_sums(sums_.data, at.h + r0, panels, p, R);
        for (Index r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) {
            const Index j = panels.first(p) + v * kWidth<Real>;
            const Index left = call_.P - j < kWidth<Real> ? call_.P - j : kWidth<Real>;
            store_n(order_.row(net_->y, t, row(r0 + r)) + j, sum(r, v, V), left);
          }
        }
      }
    }
  }

  void last_states() {
    for (Index k = share_.part; k < share_.rows; k += share_.parts) {
      const Index b = row(k), length = order_.length[b];
      const Index s = net_->reverse ? order_.steps() - 1 : length - 1, t = time(s);
      const Real* h = length > 0 ? order_.row(net_->y, t, b) : net_->h_0 ? net_->h_0 + b * call_.P : plan_.zeros;
      for (Index j = 0; j < call_.P; ++j) net_->h_n[b * call_.P + j] = h[j];
      if constexpr (Cell::has_c) {
        const Real* c_0 = packed_->c_0 ? packed_->c_0 + b * Hp_ : plan_.zeros;
        const Real* c = length > 0 ? c_row(c_after(s), t, b) : c_0;
        for (Index j = 0; j < call_.H; ++j) net_->c_n[b * call_.H + j] = c[j];
      }
    }
  }

  const Plan<Cell, Real>& plan_;
  const Call<Real>& call_;
  const Order<Real>& order_;
  const Team& team_;
  const Share share_;
  const ThreadBuffers<Real>& own_;
  const WalkBuffers<Real>& walk_;
  const Index Hp_, segment_;
  const Net<Real>* net_ = nullptr;
  const NetPlan<Real>* packed_ = nullptr;
  Kept<Real> kept_;
  TileSums<Real> sums_;
};

template <class Cell, class Real>
void forward_of(const Call<Real>& call, void* scratch, const Team& team, bool packed) {
  Arena arena(scratch);
  const Plan<Cell, Real> plan(call, team.size, arena, team.id == 0);
  plan.arrange(team);
  if (!packed) plan.pack(team);
  ForwardWalk<Cell, Real> walk(plan, team);
  for (Index k = 0; k < call.nets; ++k) {
    if (walks_net(plan.division, k, team)) walk.run(k);
  }
}
