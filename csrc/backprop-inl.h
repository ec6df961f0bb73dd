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

template <class Real>
struct BackNet {
  Panels<Real> hidden, input, projection;  // W_hh, W_ih, W_hr as they stand, for the products with da
  Real* da;                                // ring (chunk + 1, B, slots, Hp)
  Real* dp;                                // ring (chunk + 1, B, Pp): dh_t before W_hr, with a projection
  Real* m;                                 // ring (chunk + 1, B, Hp): what W_hr multiplies
  Real* dc;                                // (B, Hp): running dL/dc
  Real* dh;                                // (B, Hp or Pp): dh_n, then the GRU's direct part
  Real* c_0;                               // (B, Hp) padded, null: zeros
  Real* da_start;                          // (B, slots, Hp): da summed over the steps at which a row starts, for dh_0
  Real* dh_start;                          // (B, Hp): the direct part of dh_0
  Real* dc_start;                          // (B, Hp)
  Real* db;                                // (slots, Hp)
  Real* dW_t;                              // (I, G, Hp): dW_ih transposed, for one-hot input
  Real* gates;                             // (steps of a segment, B, saved, Hp): computed again
  Real* cells;                             // (steps of a segment, B, Hp)
};

// What one thread needs for the sums over the rows of a chunk.
template <class Real>
struct SumBuffers {
  const Real** da_rows;  // (rows of a chunk)
  const Real** x_rows;
  const Real** h_rows;
  const Index** symbol_rows;
  Real** dx_rows;
  Index* block_ends;  // (blocks of a chunk)
  Real* right;        // one panel of x, h_{t-1} or m: (rows of a chunk, 4 vectors)
};

template <class Real>
struct BackRows {
  const Real** da_next;
  const Real** extra;  // dh_n at a row's last step; the GRU's direct part
  const Real** dy;
  const Real** keep;
  const Real** h;
  const Real** h_prev;
  const Real** c;
  const Real** c_prev;
  Real** da;
  Real** dp;
  Real** m;
  Real** dc;
  Real** dh;

  void layout(Index B, Arena& arena) {
    const Real*** const read[] = {&da_next, &extra, &dy, &keep, &h, &h_prev, &c, &c_prev};
    for (const Real*** rows : read) *rows = arena.take<const Real*>(B);
    Real*** const written[] = {&da, &dp, &m, &dc, &dh};
    for (Real*** rows : written) *rows = arena.take<Real*>(B);
  }
};

template <class Cell, class Real>
struct BackPlan {
  const Call<Real>& call;
  int threads;
  Index Hp, Pp, chunk, block, segment;
  Division division;
  Order<Real> order;
  Index* counts;
  Real* zeros;
  BackNet<Real>* nets;
  BackRows<Real>* rows;
  SumBuffers<Real>* sums;
  bool by_symbol, projected;

  BackPlan(const Call<Real>& c, int threads, Arena& arena, bool writes) : call(c), threads(threads) {
    Hp = padded<Real>(c.H);
    Pp = padded<Real>(c.P);
    division = choose_division(c, threads);
    by_symbol = c.nets > 0 && c.net[0].symbols.data != nullptr;
    projected = c.nets > 0 && c.net[0].weights.W_hr != nullptr;
    block = block_steps(c.B);
    segment = segment_steps(c) < c.T ? segment_steps(c) : c.T;
    chunk = choose_chunk();
    order.layout(c, arena);
    counts = arena.take<Index>(c.T + 1);
    zeros = arena.take<Real>(max_of<Index>(Pp, Cell::slots * Hp));
    nets = arena.take<BackNet<Real>>(c.nets);
    rows = arena.take<BackRows<Real>>(threads);
    sums = arena.take<SumBuffers<Real>>(threads);
    for (Index k = 0; k < c.nets; ++k) {
      BackNet<Real> net = lay_net(c.gradients[k], c.net[k], arena);
      if (writes) nets[k] = net;
    }
    const Index chunk_rows = chunk * c.B;
    for (int p = 0; p < threads; ++p) {
      BackRows<Real> own;
      own.layout(c.B, arena);
      SumBuffers<Real> sum;
      sum.da_rows = arena.take<const Real*>(chunk_rows + kAhead);
      sum.x_rows = arena.take<const Real*>(chunk_rows + kAhead);
      sum.h_rows = arena.take<const Real*>(chunk_rows);
      sum.symbol_rows = arena.take<const Index*>(chunk_rows);
      sum.dx_rows = arena.take<Real*>(chunk_rows);
      sum.block_ends = arena.take<Index>(chunk / block + 2);
      sum.right = arena.take<Real>(chunk_rows * kPanelVectors * kWidth<Real>);
      if (writes) {
        rows[p] = own;
        sums[p] = sum;
      }
    }
  }

  // Row of (step s, row b) in the rings: a chunk and the step after it are alive at a time.
  Index ring(Index s, Index b) const { return s % (chunk + 1) * call.B + b; }

 private:
  // Long enough that dW is touched seldom, short enough that da stays in cache; a whole number of blocks.
  Index choose_chunk() const {
    const Index row_bytes = Cell::slots * Hp * sizeof(Real);
    Index wanted = (Index{4} << 20) / row_bytes;
    if (wanted < 512) wanted = 512;
    if (wanted > 2048) wanted = 2048;
    Index steps = wanted / (call.B > 0 ? call.B : 1) / block * block;
    if (steps < block) steps = block;
    const Index most = call.segment ? segment : call.T;
    return steps < most ? steps : most;
  }

  BackNet<Real> lay_net(const Gradients<Real>& g, const Net<Real>& net, Arena& arena) const {
    const Call<Real>& c = call;
    BackNet<Real> to{};
    to.hidden = Panels<Real>(c.P, Cell::gates * c.H, 1);
    to.input = Panels<Real>(c.I, Cell::gates * c.H, 1);
    to.projection = Panels<Real>(c.H, c.P, 1);
    to.hidden.data = arena.take<Real>(to.hidden.size());
    to.input.data = arena.take<Real>(g.dx.data ? to.input.size() : 0);
    to.projection.data = arena.take<Real>(projected ? to.projection.size() : 0);
    to.da = arena.take<Real>((chunk + 1) * c.B * Cell::slots * Hp);
    to.dp = arena.take<Real>(projected ? (chunk + 1) * c.B * Pp : 0);
    to.m = arena.take<Real>(projected ? (chunk + 1) * c.B * Hp : 0);
    to.dc = arena.take<Real>(Cell::has_c ? c.B * Hp : 0);
    to.dh = arena.take<Real>(c.B * Pp);
    to.c_0 = arena.take<Real>(Cell::has_c && net.c_0 ? c.B * Hp : 0);
    if (!net.c_0) to.c_0 = nullptr;
    to.da_start = arena.take<Real>(g.dh_0 ? c.B * Cell::slots * Hp : 0);
    to.dh_start = arena.take<Real>(g.dh_0 ? c.B * Pp : 0);
    to.dc_start = arena.take<Real>(g.dc_0 ? c.B * Hp : 0);
    to.db = arena.take<Real>(Cell::slots * Hp);
    to.dW_t = arena.take<Real>(by_symbol && g.weights.W_ih ? c.I * Cell::gates * Hp : 0);
    to.gates = arena.take<Real>(segment * c.B * Cell::saved * Hp);
    to.cells = arena.take<Real>(Cell::has_c ? segment * c.B * Hp : 0);
    return to;
  }

 public:
  // Packs the weights, pads the states, clears what is summed into.  Begins and ends with a barrier.
  void prepare(const Team& team) const {
    team.wait();
    if (team.id == 0) {
      Order<Real> o = order;
      o.fill(counts);
      for (Index k = 0; k < max_of<Index>(Pp, Cell::slots * Hp); ++k) zeros[k] = 0;
    }
    for (Index k = 0; k < call.nets; ++k) {
      const Net<Real>& net = call.net[k];
      const Gradients<Real>& g = call.gradients[k];
      BackNet<Real>& to = nets[k];
      pack_share(to.hidden, net.weights.W_hh, team);
      if (g.dx.data) pack_share(to.input, net.weights.W_ih, team);
      if (projected) pack_share(to.projection, net.weights.W_hr, team);
      const Range b(call.B, team.id, team.size);
      pad_rows(to.dh, g.dh_n, call.P, Pp, b);
      if constexpr (Cell::has_c) pad_rows(to.dc, g.dc_n, call.H, Hp, b);
      if (to.c_0) pad_rows(to.c_0, net.c_0, call.H, Hp, b);
      if (g.dh_0) clear(to.da_start, Cell::slots * Hp, b), clear(to.dh_start, Pp, b);
      if (g.dc_0) clear(to.dc_start, Hp, b);
      if (g.weights.W_ih) clear_sums(g, to, team);
    }
    team.wait();
  }

 private:
  void pack_share(Panels<Real>& to, const Real* W, const Team& team) const {
    const Range panels(to.count, team.id, team.size);
    for (Index p = panels.begin; p < panels.end; ++p) {
      pack_plain(to, p, 0, to.K, [&](Index k) { return W + k * to.columns; });
    }
  }
  void clear(Real* to, Index width, Range b) const {
    for (Index k = b.begin * width; k < b.end * width; ++k) to[k] = 0;
  }
  void clear_sums(const Gradients<Real>& g, BackNet<Real>& to, const Team& team) const {
    const Index GH = Cell::gates * call.H;
    clear(to.db, 1, Range(Cell::slots * Hp, team.id, team.size));
    clear(g.weights.W_hh, call.P, Range(GH, team.id, team.size));
    if (g.weights.W_hr) clear(g.weights.W_hr, call.H, Range(call.P, team.id, team.size));
    if (by_symbol) {
      clear(to.dW_t, Cell::gates * Hp, Range(call.I, team.id, team.size));
    } else {
      clear(g.weights.W_ih, call.I, Range(GH, team.id, team.size));
    }
  }
};

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
