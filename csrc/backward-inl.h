// SPDX-License-Identifier: Apache-2.0
// The walk back through time (BPTT).
//
//   for each chunk of steps, the last first:
//     for each step, the last first:   dh_t = dy_t + W_hh^T da_{t+1}    one product, then the cell's backward at once
//                                      da_t = gradients before the activations, kept for the chunk
//     dW += da^T [x, h_{t-1}],  dx = W_ih^T da                         products over all rows of the chunk
//
// A row that starts (its first step, or a reset) hands its gradient to h_0 and c_0 instead of to the step before.
//
// Sums over rows (dW, db) run from the last step to the first, in blocks of a fixed number of steps counted from the
// end.  At a block's edge a walk may be cut and the bits stay: there the segments end whose gates are computed again.

template <class Cell, class Real>
class BackWalk {
 public:
  BackWalk(const BackPlan<Cell, Real>& plan, const Team& team)
      : plan_(plan), call_(plan.call), order_(plan.order), team_(team),
        share_(choose_share(plan.call, plan.division, team)), own_(plan.rows[team.id]), Hp_(plan.Hp), Pp_(plan.Pp) {
    for (int gate = 0; gate < Cell::gates; ++gate) hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
  }

  // Steps s1 - 1 down to s0 of one net.
  void run(Index which, Index s0, Index s1, const Kept<Real>& kept) {
    net_ = &call_.net[which];
    grad_ = &call_.gradients[which];
    back_ = &plan_.nets[which];
    kept_ = kept;
    Index n = 0;
    for (Index s = s1; s-- > s0;) {
      const Index t = time(s);
      n = order_.active(share_, t, n);
      point(t, s, n);
      if (plan_.projected) {
        project(n);
        if (share_.together) team_.wait();
      }
      step(n);
      hand_to_start(t, n);
      if (share_.together) team_.wait();
    }
  }

 private:
  Index time(Index s) const { return net_->reverse ? order_.steps() - 1 - s : s; }
  Index row(Index k) const { return order_.order[share_.first + k * share_.stride]; }
  bool begins(Index t, Index b) const { return t == (net_->reverse ? order_.length[b] - 1 : 0); }
  bool ends(Index t, Index b) const { return t == (net_->reverse ? 0 : order_.length[b] - 1); }
  Index ring(Index s, Index b) const { return plan_.ring(s, b); }
  Real* da(Index s, Index b) const { return back_->da + ring(s, b) * Cell::slots * Hp_; }

  void point(Index t, Index s, Index n) {
    const Index t_prev = net_->reverse ? t + 1 : t - 1, t_next = net_->reverse ? t - 1 : t + 1;
    const BackRows<Real>& at = own_;
    follows_ = false;
    for (Index k = 0; k < n; ++k) {
      const Index b = row(k);
      const bool initial = begins(t, b) || order_.resets(t, b), last = ends(t, b);
      const bool passed_on = !last && !order_.resets(t_next, b);
      follows_ |= passed_on;
      at.da_next[k] = passed_on ? da(s + 1, b) : plan_.zeros;
      at.extra[k] = last || Cell::reads_h_prev ? back_->dh + b * Pp_ : plan_.zeros;
      at.dy[k] = grad_->dy.data ? order_.row(grad_->dy, t, b) : plan_.zeros;
      at.da[k] = da(s, b);
      at.dh[k] = back_->dh + b * Pp_;
      if (Cell::saved > 0) at.keep[k] = order_.row(kept_.gates, t, b);
      if (Cell::reads_h) at.h[k] = order_.row(net_->y, t, b);
      if (Cell::reads_h_prev) {
        at.h_prev[k] = !initial ? order_.row(net_->y, t_prev, b) : net_->h_0 ? net_->h_0 + b * call_.P : plan_.zeros;
      }
      if constexpr (Cell::has_c) {
        at.dc[k] = back_->dc + b * Hp_;
        at.c[k] = order_.row(kept_.cells, t, b);
        const Real* c_0 = back_->c_0 ? back_->c_0 + b * Hp_ : plan_.zeros;
        at.c_prev[k] = initial ? c_0 : kept_.before(s) ? kept_.before(s) + b * Hp_ : order_.row(kept_.cells, t_prev, b);
      }
      if (plan_.projected) {
        at.dp[k] = back_->dp + ring(s, b) * Pp_;
        at.m[k] = back_->m + ring(s, b) * Hp_;
      }
    }
  }

  // R rows of W_hh^T da_{t+1}, one panel of units.
  void recurrent_product(Index p, Index r0, Index R, int V) {
    const Panels<Real>& panels = back_->hidden;
    if (follows_) {
      tile_for<Real, false>(R, V)(sums_.data, own_.da_next + r0, hidden_at_, Cell::gates, call_.H, panels.panel(p));
    } else {
      for (Index k = 0; k < R * V; ++k) store(sums_.data + k * kWidth<Real>, Vec<Real>{});
    }
  }

  Vec<Real> sum(Index r, int v, int V) const { return load(sums_.data + (r * V + v) * kWidth<Real>); }

  // dh_t, with all that reaches it.
  Vec<Real> dh(Index k, Index j, Index r, int v, int V) const {
    const Index left = call_.P - j < kWidth<Real> ? call_.P - j : kWidth<Real>;
    return sum(r, v, V) + load_n(own_.dy[k] + j, left) + load(own_.extra[k] + j);
  }

  // With a projection: dp_t = dh_t, the gradient of W_hr m_t.
  void project(Index n) {
    const Panels<Real>& panels = back_->hidden;
    for (Index p = share_.begin(panels.count); p < share_.end(panels.count); ++p) {
      const int V = panels.vectors(p);
      const RowTiles tiles(n, max_rows(V));
      for (Index i = 0; i < tiles.tiles; ++i) {
        const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
        recurrent_product(p, r0, R, V);
        for (Index r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) {
            const Index j = panels.first(p) + v * kWidth<Real>;
            store(own_.dp[r0 + r] + j, dh(r0 + r, j, r, v, V));
          }
        }
      }
    }
  }

  void step(Index n) {
    const Panels<Real>& panels = plan_.projected ? back_->projection : back_->hidden;
    static constexpr Index zero = 0;
    for (Index p = share_.begin(panels.count); p < share_.end(panels.count); ++p) {
      const int V = panels.vectors(p);
      const RowTiles tiles(n, max_rows(V));
      for (Index i = 0; i < tiles.tiles; ++i) {
        const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
        if (plan_.projected) {
          tile_for<Real, false>(R, V)(sums_.data, own_.dp + r0, &zero, 1, call_.P, panels.panel(p));
        } else {
          recurrent_product(p, r0, R, V);
        }
        for (Index r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) {
            const Index j = panels.first(p) + v * kWidth<Real>;
            cell(r0 + r, j, plan_.projected ? sum(r, v, V) : dh(r0 + r, j, r, v, V));
          }
        }
      }
    }
  }

  // One vector of units of one row, from unit j on.
  void cell(Index k, Index j, Vec<Real> dh) {
    const BackRows<Real>& at = own_;
    const Index n = call_.H - j < kWidth<Real> ? call_.H - j : kWidth<Real>;
    Vec<Real> kept[4]{}, da[Cell::slots];
    for (int slot = 0; slot < Cell::saved; ++slot) kept[slot] = load(at.keep[k] + slot * Hp_ + j);
    const Vec<Real> h = Cell::reads_h ? load_n(at.h[k] + j, n) : Vec<Real>{};
    const Vec<Real> h_prev = Cell::reads_h_prev ? load_n(at.h_prev[k] + j, n) : Vec<Real>{};
    const Vec<Real> c = Cell::has_c ? load(at.c[k] + j) : Vec<Real>{};
    const Vec<Real> c_prev = Cell::has_c ? load(at.c_prev[k] + j) : Vec<Real>{};
    const Vec<Real> dc = Cell::has_c ? load(at.dc[k] + j) : Vec<Real>{};
    const StepBack<Real> back = Cell::backward(kept, h, h_prev, c, c_prev, dh, dc, da);
    for (int slot = 0; slot < Cell::slots; ++slot) store(at.da[k] + slot * Hp_ + j, da[slot]);
    if constexpr (Cell::reads_h_prev) store(at.dh[k] + j, back.dh_direct);
    if constexpr (Cell::has_c) store(at.dc[k] + j, back.dc_prev);
    if (plan_.projected) store(at.m[k] + j, Cell::output(kept, c));
  }

  // Where a row starts, what would go to the step before goes to h_0 and c_0.
  void hand_to_start(Index t, Index n) {
    const Panels<Real>& panels = plan_.projected ? back_->projection : back_->hidden;
    const Index from = panels.first(share_.begin(panels.count));
    const Index to = share_.part + 1 == share_.parts ? Hp_ : panels.first(share_.end(panels.count));
    for (Index k = 0; k < n; ++k) {
      const Index b = row(k);
      const bool reset = order_.resets(t, b);
      if (!reset && !begins(t, b)) continue;
      if (grad_->dh_0) {
        for (int slot = 0; slot < Cell::slots; ++slot) {
          add(back_->da_start + (b * Cell::slots + slot) * Hp_, own_.da[k] + slot * Hp_, from, to);
        }
        if (Cell::reads_h_prev) add(back_->dh_start + b * Pp_, own_.dh[k], from, to);
      }
      if (Cell::has_c && grad_->dc_0) add(back_->dc_start + b * Hp_, own_.dc[k], from, to);
      for (Index j = from; j < to; ++j) {
        if (Cell::reads_h_prev) own_.dh[k][j] = 0;
        if (Cell::has_c) own_.dc[k][j] = 0;
      }
    }
  }
  static void add(Real* to, const Real* from, Index begin, Index end) {
    for (Index j = begin; j < end; ++j) to[j] += from[j];
  }

  const BackPlan<Cell, Real>& plan_;
  const Call<Real>& call_;
  const Order<Real>& order_;
  const Team& team_;
  const Share share_;
  const BackRows<Real>& own_;
  const Index Hp_, Pp_;
  const Net<Real>* net_ = nullptr;
  const Gradients<Real>* grad_ = nullptr;
  const BackNet<Real>* back_ = nullptr;
  Kept<Real> kept_;
  Index hidden_at_[Cell::gates];
  bool follows_ = false;
  TileSums<Real> sums_;
};
