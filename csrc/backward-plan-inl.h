// SPDX-License-Identifier: Apache-2.0
// What the backward pass needs before it starts: the layout of its buffers in the scratch, and the weights packed
// without being transposed.

// The parts of the gradient of a state that rows start from, summed over the steps that read it.
template <class T>
struct StartSums {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  Compute* da;       // (B, slots, Hp): for dh, which is W_hh^T da and a direct part
  Storage* rounded;  // the same as the product reads it
  Compute* dh;       // (B, Pp): the direct part
  Compute* dc;       // (B, Hp)
};

template <class T>
struct BackwardBuffers {
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;
  using Storage = typename T::Storage;
  Panels<Storage, Sum> hidden, input, projection;  // W_hh, W_ih, W_hr, not transposed, for products with da
  Storage* da;                                     // ring (chunk + 1, B, da_width): (slots, Hp)
  Storage* dp;                                     // ring (chunk + 1, B, Pp): dh_t before W_hr, with a projection
  Storage* m;                                      // ring (chunk + 1, B, Hp): what W_hr multiplies
  LeftSide<Storage> da_left, dp_left;              // rows of a chunk of da and dp as dW reads them
  Compute* dc;                                     // (B, Hp): running dL/dc
  Compute* dh;                                     // (B, Hp or Pp): dh_n, then the GRU's direct part
  StartCells<T> c_start;
  StartSums<T> initial, reset;
  Compute* vectors;            // (vectors, Hp): per-unit vectors
  Sum *dW_ih, *dW_hh, *dW_hr;  // the caller's arrays where those hold sums, or are added to
  Sum* db;                     // (slots, Hp)
  Compute* da_sums;            // (B, slots, Hp): over the steps, where da is rounded when it is stored
  Sum* dW_t;                   // (I, G, Hp): dW_ih transposed, for one-hot input
  Storage* gates;              // (steps of a segment, B, saved, Hp): recomputed
  Compute* cells;              // (steps of a segment, B, Hp)
};

// What one member needs for the sums over the rows of a chunk.
template <class T>
struct SumBuffers {
  using Storage = typename T::Storage;
  const Storage **da_rows, **dp_rows, **x_rows, **h_rows, **m_rows;  // (rows of a chunk)
  Lane<Storage>**da_lanes, **dp_lanes;                               // (rows of a chunk + kAhead)
  const Index** symbol_rows;
  Index *alike, *latest;  // (rows of a chunk) the next row of the chain with the same symbol; (I) the last so far
  bool* leads;            // (rows of a chunk) whether a row is the first of its chain with its symbol
  Storage** dx_rows;
  Index* block_ends;     // (blocks of a chunk)
  Lane<Storage>* right;  // one panel of x, h_{t-1} or m: (rows of a chunk, 4 vectors)
};

// Pointers to the rows of one step.
template <class T>
struct BackwardPointers {
  const typename T::Compute** extra;  // dh_n at a row's last step; the GRU's direct part
  const typename T::Compute **c, **c_prev;
  const typename T::Storage **da_next, **dy, **saved, **h, **h_prev;
  typename T::Storage **da, **dp, **m;
  typename T::Compute **dc, **dh;
};

template <class Cell, class T>
struct BackwardPlan {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;

  static constexpr bool da_is_rounded = !__is_same(Storage, Compute);  // a sum of many would show it

  // Of the gradients before the activations, those that multiply weights come first.
  static constexpr int weight_slots = [] {
    int n = 0;
    for (int gate = 0; gate < Cell::gates; ++gate)
      n = max_of(n, max_of(Cell::input_slot(gate), Cell::hidden_slot(gate)) + 1);
    return n;
  }();

  const CallOf<T>& call;
  Index Hp, Pp, chunk, block, segment;
  // The width of a row of da and of its lanes: a cache line more than the slots, since rows 4096 bytes apart would
  // share a few sets of the first-level cache.
  Index da_width, lane_width;
  Order<T> order;
  Storage* no_h;                  // (max(P, slots * Hp)) zeros
  Compute* zeros;                 // (max(Pp, Hp))
  BackwardBuffers<T>* buffers;    // [recurrences]
  BackwardPointers<T>* pointers;  // [members]
  SumBuffers<T>* sums;            // [members]
  bool by_symbol, projected;

  BackwardPlan(const CallOf<T>& c, int members, Arena& arena) : call(c) {
    Hp = padded<Compute>(c.H);
    Pp = padded<Compute>(c.P);
    by_symbol = c.recurrence[0].symbols.data;
    projected = c.recurrence[0].weights.W_hr;
    da_width = Cell::slots * Hp + 64 / sizeof(Storage);
    lane_width = Cell::slots * Hp + 64 / sizeof(Lane<Storage>);
    block = block_steps(c.B);
    segment = min_of(segment_steps<T>(c), c.T);
    chunk = choose_chunk();
    order.layout(c, arena);
    arena.take(max_of(c.P, Cell::slots * Hp), no_h);
    arena.take(max_of(Pp, Hp), zeros);
    arena.take(c.recurrences, buffers);
    arena.take(members, pointers);
    arena.take(members, sums);
    for (Index k = 0; k < c.recurrences; ++k) {
      const BackwardBuffers<T> to = lay(c.gradients[k], c.recurrence[k], arena);
      if (buffers) buffers[k] = to;
    }
    const Index chunk_rows = chunk * c.B;
    for (int k = 0; k < members; ++k) {
      BackwardPointers<T> row;
      arena.take(c.B, row.extra, row.c, row.c_prev);
      arena.take(c.B, row.da_next, row.dy, row.saved, row.h, row.h_prev);
      arena.take(c.B, row.da, row.dp, row.m);
      arena.take(c.B, row.dc, row.dh);
      SumBuffers<T> sum;
      arena.take(chunk_rows, sum.da_rows, sum.x_rows, sum.h_rows);
      arena.take(projected ? chunk_rows : 0, sum.dp_rows, sum.m_rows);
      arena.take(chunk_rows + kAhead, sum.da_lanes);
      arena.take(projected ? chunk_rows + kAhead : 0, sum.dp_lanes);
      arena.take(by_symbol ? chunk_rows : 0, sum.symbol_rows);
      arena.take(by_symbol ? chunk_rows : 0, sum.alike);
      arena.take(by_symbol ? c.I : 0, sum.latest);
      arena.take(by_symbol ? chunk_rows : 0, sum.leads);
      arena.take(chunk_rows, sum.dx_rows);
      arena.take(chunk / block + 2, sum.block_ends);
      arena.take(chunk_lanes() * kPanelVectors * kWidth<Sum>, sum.right);
      if (sums) pointers[k] = row, sums[k] = sum;
    }
  }

  // Row of (step s, row b) in the rings: they hold one chunk and the step after it.
  Index ring(Index s, Index b) const { return s % (chunk + 1) * call.B + b; }

  // Where the gates and cells of steps s0 to s1 are, a segment or all steps.
  Saved<T> saved_of(Index which, Index s0, Index s1) const {
    const RecurrenceOf<T>& recurrence = call.recurrence[which];
    if (!call.segment) return {recurrence.gates, recurrence.cells};
    const Index rows = call.batch_sizes ? 1 : call.B;  // of a place
    const auto all = [&]<class Element>(Element* data, Index width) {
      return Rows<Element>{data, rows * width, width};
    };
    const Index edge = (order.steps() - s0) / segment - 1;
    return {all(buffers[which].gates, Cell::saved * Hp), all(buffers[which].cells, Hp),
            order.place[recurrence.reverse ? order.steps() - s1 : s0], s0,
            s0 > 0 ? recurrence.cells.data + edge * recurrence.cells.time_stride : nullptr};
  }

  // How the steps of this call are cut for this many members.
  Grid grid(Index members) const {
    return {call.recurrences, blocking(call.division, members, call.recurrences, call.B, buffers[0].hidden.count)};
  }

  // Packs the weights, pads the states, clears the sums.
  void prepare(const Team& team) {
    order.fill();
    clear(no_h, max_of(call.P, Cell::slots * Hp), kWhole);
    clear(zeros, max_of(Pp, Hp), kWhole);
    const Index parts = parts_of_each(team, call.recurrences);
    team.share(call.recurrences * parts, [&](Index item, int) {
      const Index k = item / parts;
      prepare(call.recurrence[k], call.gradients[k], buffers[k], {item % parts, parts});
    });
  }

 private:
  // The most lanes that the rows of a chunk take: each block may end in half a lane.
  Index chunk_lanes() const { return lanes_of<Storage>(chunk * call.B) + chunk / block + 1; }

  // Long enough that dW is seldom added to, short enough that da stays in cache; a whole number of blocks.
  Index choose_chunk() const {
    const Index row_bytes = Cell::slots * Hp * sizeof(Storage);
    const Index rows = min_of(2048, max_of(512, (Index{4} << 20) / row_bytes));
    const Index steps = max_of(block, rows / max_of(1, call.B) / block * block);
    return min_of(steps, call.segment ? segment : call.T);
  }

  BackwardBuffers<T> lay(const Gradients<Storage>& gradients, const RecurrenceOf<T>& recurrence, Arena& arena) const {
    const CallOf<T>& c = call;
    BackwardBuffers<T> to;
    to.hidden = {c.P, c.H, Cell::gates, c.B};
    to.input = {c.I, c.H, Cell::gates};
    to.projection = {c.H, c.P, 1, c.B};
    arena.take(to.hidden.size(), to.hidden.data);
    arena.take(gradients.dx.data ? to.input.size() : 0, to.input.data);
    arena.take(projected ? to.projection.size() : 0, to.projection.data);
    arena.take((chunk + 1) * c.B * da_width, to.da);
    arena.take(projected ? (chunk + 1) * c.B * Pp : 0, to.dp);
    arena.take(projected ? (chunk + 1) * c.B * Hp : 0, to.m);
    to.da_left = {weight_slots, c.H, Hp, lane_width, chunk_lanes()};
    to.dp_left = {1, c.P, Pp, Pp, chunk_lanes()};
    const bool weights = gradients.of_weights();
    arena.take(weights ? to.da_left.size() : 0, to.da_left.packed);
    arena.take(weights && projected ? to.dp_left.size() : 0, to.dp_left.packed);
    arena.take(Cell::has_c ? c.B * Hp : 0, to.dc);
    arena.take(c.B * Pp, to.dh);
    if (Cell::has_c) to.c_start.layout(recurrence, c.B * Hp, arena);
    to.initial = lay_start(gradients.dh_0, gradients.dc_0, arena);
    to.reset = lay_start(gradients.dh_reset, gradients.dc_reset, arena);
    const auto &wanted = gradients.weights, &sums = gradients.sums;
    to.dW_ih = sums_in(wanted.W_ih, sums.W_ih, by_symbol ? 0 : Cell::gates * c.H * c.I, arena);
    to.dW_hh = sums_in(wanted.W_hh, sums.W_hh, Cell::gates * c.H * c.P, arena);
    to.dW_hr = sums_in(wanted.W_hr, sums.W_hr, c.P * c.H, arena);
    arena.take(Cell::slots * Hp, to.db);
    arena.take(da_is_rounded && gradients.of_weights() ? c.B * Cell::slots * Hp : 0, to.da_sums);
    arena.take(Cell::vectors * Hp, to.vectors);
    arena.take(by_symbol && gradients.of_weights() ? c.I * Cell::gates * Hp : 0, to.dW_t);
    arena.take(segment * c.B * Cell::saved * Hp, to.gates);
    arena.take(Cell::has_c ? segment * c.B * Hp : 0, to.cells);
    return to;
  }

  StartSums<T> lay_start(const Storage* dh, const Storage* dc, Arena& arena) const {
    StartSums<T> to;
    arena.take(dh ? call.B * Cell::slots * Hp : 0, to.da);
    arena.take(dh && !__is_same(Storage, Compute) ? call.B * Cell::slots * Hp : 0, to.rounded);
    arena.take(dh ? call.B * Pp : 0, to.dh);
    arena.take(dc ? call.B * Hp : 0, to.dc);
    return to;
  }

  void clear_start(const StartSums<T>& to, const Storage* dh, const Storage* dc, Part part) const {
    if (dh) clear(to.da, call.B * Cell::slots * Hp, part), clear(to.dh, call.B * Pp, part);
    if (dc) clear(to.dc, call.B * Hp, part);
  }

  // Weight gradients are summed in the caller's array where that has the type of the sums.
  Sum* sums_in(Storage* given, Sum* added_to, Index n, Arena& arena) const {
    if (added_to) return added_to;
    if constexpr (__is_same(Storage, Sum)) {
      return given;
    } else {
      return arena.take<Sum>(given ? n : 0);
    }
  }

  void prepare(const RecurrenceOf<T>& recurrence, const Gradients<Storage>& gradients, const BackwardBuffers<T>& to,
               Part part) const {
    pack_plain(to.hidden, recurrence.weights.W_hh, part);
    if (gradients.dx.data) pack_plain(to.input, recurrence.weights.W_ih, part);
    if (projected) pack_plain(to.projection, recurrence.weights.W_hr, part);
    const Range b = part.of(call.B);
    pad_rows(to.dh, gradients.dh_n, call.P, Pp, b);
    if constexpr (Cell::has_c) pad_rows(to.dc, gradients.dc_n, call.H, Hp, b);
    if (part.part == 0) pack_vectors<Cell>(recurrence.weights, call.H, Hp, to.vectors);
    to.c_start.fill(recurrence, call.H, Hp, b);
    clear_start(to.initial, gradients.dh_0, gradients.dc_0, part);
    clear_start(to.reset, gradients.dh_reset, gradients.dc_reset, part);
    if (gradients.of_weights()) clear_sums(to, !gradients.sums.W_hh, part);
  }

  template <class Element>
  static void clear(Element* to, Index n, Part part) {
    const Range mine = part.of(n);
    for (Index k = mine.begin; k < mine.end; ++k) to[k] = Element{};
  }

  // `all`: also the arrays that sums could be added to.
  void clear_sums(const BackwardBuffers<T>& to, bool all, Part part) const {
    const Index units = Cell::gates * call.H;
    clear(to.db, Cell::slots * Hp, part);
    if (da_is_rounded) clear(to.da_sums, call.B * Cell::slots * Hp, part);
    if (by_symbol) clear(to.dW_t, call.I * Cell::gates * Hp, part);
    if (!all) return;
    clear(to.dW_hh, units * call.P, part);
    if (projected) clear(to.dW_hr, call.P * call.H, part);
    if (!by_symbol) clear(to.dW_ih, units * call.I, part);
  }
};
