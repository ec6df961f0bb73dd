// SPDX-License-Identifier: Apache-2.0
// Everything that is settled before the backward pass: where its buffers lie in the scratch, and the weights packed as
// they stand.

template <class Real>
struct BackwardBuffers {
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
  Real* vectors;                           // (vectors, Hp): per-unit vectors
  Real* dW_t;                              // (I, G, Hp): dW_ih transposed, for one-hot input
  Real* gates;                             // (steps of a segment, B, saved, Hp): recomputed
  Real* cells;                             // (steps of a segment, B, Hp)
};

// What one thread needs for the sums over the rows of a chunk.
template <class Real>
struct SumBuffers {
  const Real **da_rows, **x_rows;  // (rows of a chunk + kAhead)
  const Real** h_rows;             // (rows of a chunk)
  const Index** symbol_rows;
  Real** dx_rows;
  Index* block_ends;  // (blocks of a chunk)
  Real* right;        // one panel of x, h_{t-1} or m: (rows of a chunk, 4 vectors)
};

// Pointers to the rows of one step.
template <class Real>
struct BackwardRows {
  const Real** da_next;
  const Real** extra;  // dh_n at a row's last step; the GRU's direct part
  const Real **dy, **saved, **h, **h_prev, **c, **c_prev;
  Real **da, **dp, **m, **dc, **dh;
};

template <class Cell, class Real>
struct BackwardPlan {
  const Call<Real>& call;
  Index Hp, Pp, chunk, block, segment;
  Division division;
  Order<Real> order;
  Real* zeros;  // (max(Pp, slots * Hp))
  BackwardBuffers<Real>* buffers;
  BackwardRows<Real>* rows;
  SumBuffers<Real>* sums;
  bool by_symbol, projected;

  BackwardPlan(const Call<Real>& c, int threads, Arena& arena, bool writes) : call(c) {
    Hp = padded<Real>(c.H);
    Pp = padded<Real>(c.P);
    division = choose_division(c, threads);
    by_symbol = c.recurrences > 0 && c.recurrence[0].symbols.data;
    projected = c.recurrences > 0 && c.recurrence[0].weights.W_hr;
    block = block_steps(c.B);
    segment = segment_steps(c) < c.T ? segment_steps(c) : c.T;
    chunk = choose_chunk();
    order.layout(c, arena);
    arena.take(max_of(Pp, Cell::slots * Hp), zeros);
    arena.take(c.recurrences, buffers);
    arena.take(threads, rows);
    arena.take(threads, sums);
    for (Index k = 0; k < c.recurrences; ++k) {
      const BackwardBuffers<Real> to = lay(c.gradients[k], c.recurrence[k], arena);
      if (writes) buffers[k] = to;
    }
    const Index chunk_rows = chunk * c.B;
    for (int k = 0; k < threads; ++k) {
      BackwardRows<Real> row;
      arena.take(c.B, row.da_next, row.extra, row.dy, row.saved, row.h, row.h_prev, row.c, row.c_prev);
      arena.take(c.B, row.da, row.dp, row.m, row.dc, row.dh);
      SumBuffers<Real> sum;
      arena.take(chunk_rows + kAhead, sum.da_rows, sum.x_rows);
      arena.take(chunk_rows, sum.h_rows);
      arena.take(chunk_rows, sum.symbol_rows);
      arena.take(chunk_rows, sum.dx_rows);
      arena.take(chunk / block + 2, sum.block_ends);
      arena.take(chunk_rows * kPanelVectors * kWidth<Real>, sum.right);
      if (writes) rows[k] = row, sums[k] = sum;
    }
  }

  // Row of (step s, row b) in the rings: a chunk and the step after it are alive at a time.
  Index ring(Index s, Index b) const { return s % (chunk + 1) * call.B + b; }

  // Where the gates and cells of steps s0 to s1 are, a segment or all steps.
  Saved<Real> saved_of(Index which, Index s0, Index s1) const {
    const Recurrence<Real>& recurrence = call.recurrence[which];
    if (!call.segment) return {recurrence.gates, recurrence.cells};
    const Index rows = call.batch_sizes ? 1 : call.B;  // of a place
    const auto all = [&](Real* data, Index width) { return Rows<Real>{data, rows * width, width}; };
    const Index edge = (order.steps() - s0) / segment - 1;
    return {all(buffers[which].gates, Cell::saved * Hp), all(buffers[which].cells, Hp),
            order.place[recurrence.reverse ? order.steps() - s1 : s0], s0,
            s0 > 0 ? recurrence.cells.data + edge * recurrence.cells.time_stride : nullptr};
  }

  // Packs the weights, pads the states, clears what is summed into.  Begins and ends with a barrier.
  void prepare(const Team& team) {
    team.wait();
    if (team.id == 0) {
      order.fill();
      for (Index k = 0; k < max_of(Pp, Cell::slots * Hp); ++k) zeros[k] = 0;
    }
    for (Index k = 0; k < call.recurrences; ++k) {
      const Recurrence<Real>& recurrence = call.recurrence[k];
      const Gradients<Real>& gradients = call.gradients[k];
      const BackwardBuffers<Real>& to = buffers[k];
      pack_share(to.hidden, recurrence.weights.W_hh, team);
      if (gradients.dx.data) pack_share(to.input, recurrence.weights.W_ih, team);
      if (projected) pack_share(to.projection, recurrence.weights.W_hr, team);
      const Range b(call.B, team.id, team.size);
      pad_rows(to.dh, gradients.dh_n, call.P, Pp, b);
      if constexpr (Cell::has_c) pad_rows(to.dc, gradients.dc_n, call.H, Hp, b);
      if (team.id == 0) pack_vectors<Cell>(recurrence.weights, call.H, Hp, to.vectors);
      if (to.c_0) pad_rows(to.c_0, recurrence.c_0, call.H, Hp, b);
      if (gradients.dh_0) clear(to.da_start, Cell::slots * Hp, b), clear(to.dh_start, Pp, b);
      if (gradients.dc_0) clear(to.dc_start, Hp, b);
      if (gradients.weights.W_ih) clear_sums(gradients.weights, to, team);
    }
    team.wait();
  }

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

  BackwardBuffers<Real> lay(const Gradients<Real>& gradients, const Recurrence<Real>& recurrence, Arena& arena) const {
    const Call<Real>& c = call;
    const bool own_c_0 = Cell::has_c && recurrence.c_0;
    BackwardBuffers<Real> to;
    to.hidden = {c.P, Cell::gates * c.H};
    to.input = {c.I, Cell::gates * c.H};
    to.projection = {c.H, c.P};
    arena.take(to.hidden.size(), to.hidden.data);
    arena.take(gradients.dx.data ? to.input.size() : 0, to.input.data);
    arena.take(projected ? to.projection.size() : 0, to.projection.data);
    arena.take((chunk + 1) * c.B * Cell::slots * Hp, to.da);
    arena.take(projected ? (chunk + 1) * c.B * Pp : 0, to.dp);
    arena.take(projected ? (chunk + 1) * c.B * Hp : 0, to.m);
    arena.take(Cell::has_c ? c.B * Hp : 0, to.dc);
    arena.take(c.B * Pp, to.dh);
    arena.take(own_c_0 ? c.B * Hp : 0, to.c_0);
    if (!own_c_0) to.c_0 = nullptr;
    arena.take(gradients.dh_0 ? c.B * Cell::slots * Hp : 0, to.da_start);
    arena.take(gradients.dh_0 ? c.B * Pp : 0, to.dh_start);
    arena.take(gradients.dc_0 ? c.B * Hp : 0, to.dc_start);
    arena.take(Cell::slots * Hp, to.db);
    arena.take(Cell::vectors * Hp, to.vectors);
    arena.take(by_symbol && gradients.weights.W_ih ? c.I * Cell::gates * Hp : 0, to.dW_t);
    arena.take(segment * c.B * Cell::saved * Hp, to.gates);
    arena.take(Cell::has_c ? segment * c.B * Hp : 0, to.cells);
    return to;
  }

  static void pack_share(const Panels<Real>& to, const Real* W, const Team& team) {
    const Range panels(to.count, team.id, team.size);
    for (Index p = panels.begin; p < panels.end; ++p) {
      pack_plain(to, p, [&](Index k) { return W + k * to.columns; }, to.panel(p));
    }
  }

  static void clear(Real* to, Index width, Range b) {
    for (Index k = b.begin * width; k < b.end * width; ++k) to[k] = 0;
  }

  void clear_sums(const Weights<Real>& weights, const BackwardBuffers<Real>& to, const Team& team) const {
    const Range units(Cell::gates * call.H, team.id, team.size);
    clear(to.db, 1, Range(Cell::slots * Hp, team.id, team.size));
    clear(weights.W_hh, call.P, units);
    if (projected) clear(weights.W_hr, call.H, Range(call.P, team.id, team.size));
    if (by_symbol) {
      clear(to.dW_t, Cell::gates * Hp, Range(call.I, team.id, team.size));
    } else {
      clear(weights.W_ih, call.I, units);
    }
  }
};
