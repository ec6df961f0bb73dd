// SPDX-License-Identifier: Apache-2.0
// Everything that is settled before the backward pass: the buffers that lie in the scratch, W packed as it stands.

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
