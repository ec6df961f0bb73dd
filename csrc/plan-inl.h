// SPDX-License-Identifier: Apache-2.0
// What the time loop needs before it starts: the order of the rows, the layout of the scratch, and the weights packed
// into panels.

// The weights of one recurrence, packed for the forward pass.
template <class Cell, class T>
struct Packed {
  using Compute = typename T::Compute;
  Panels<typename T::Storage, typename T::Sum, Cell::gates> input, hidden;
  Panels<typename T::Storage, typename T::Sum> projection;
  Compute* x_bias;   // (G, Hp): b_ih + b_hh, but b_ih alone for the GRU's n
  Compute* vectors;  // (vectors, Hp): per-unit vectors
  Compute* table;    // (I, G, Hp): the input product of every symbol, null when rows are projected one by one
  Compute* c;        // (B, Hp): the running cell state at inference
};

// The buffers of one pass: of a member, or where steps are shared, of a recurrence.
template <class T>
struct StepBuffers {
  typename T::Compute* x_part;  // (rows of a chunk, G, Hp): the input products, where the saved gates cannot hold them
  typename T::Storage* m;       // (B, Hp): o * tanh(c) before the projection
};

// Enough rows in a chunk to use each weight of W_ih often, few enough that the products stay in cache.
constexpr Index kChunkRows = 96;
inline Index chunk_steps(Index rows) { return max_of(1, kChunkRows / max_of(1, rows)); }

// Pointers to the rows of one step, so that resets, ragged ends and layouts cost nothing inside the product.  When
// gates are recomputed every h_{t-1} is known, and these are the rows of a whole chunk.
template <class T>
struct ForwardPointers {
  const typename T::Storage** h_prev;
  const typename T::Compute **c_prev, **x_part;
  typename T::Storage **y, **saved, **m;
  typename T::Compute** c;
  const typename T::Storage** x;  // of a chunk
  typename T::Compute** out;      // of a chunk
};

// The biases of W_ih x (gates, Hp), and those of W_hh h that can be added to them.
template <class Cell, class Storage, class Compute>
inline void pack_x_bias(const Weights<const Storage>& weights, Index H, Index Hp, Compute* to) {
  for (int gate = 0; gate < Cell::gates; ++gate) {
    const bool joins = Cell::input_slot(gate) == Cell::hidden_slot(gate);
    const auto bias = [&](const Storage* b, Index j) { return b ? static_cast<Compute>(b[gate * H + j]) : Compute{0}; };
    for (Index j = 0; j < Hp; ++j) {
      to[gate * Hp + j] = j < H ? bias(weights.b_ih, j) + bias(joins ? weights.b_hh : nullptr, j) : Compute{0};
    }
  }
}

// W_ih times a one-hot vector, for some units: a column of W_ih, plus the biases.
template <class Cell, class Storage, class Compute>
inline void symbol_column(const Storage* W_ih, Index H, Index I, Index symbol, const Compute* x_bias, Index Hp,
                          Range units, Compute* out) {
  for (int gate = 0; gate < Cell::gates; ++gate) {
    for (Index j = units.begin; j < units.end; ++j) {
      const Compute w = j < H ? static_cast<Compute>(W_ih[(gate * H + j) * I + symbol]) : Compute{0};
      out[gate * Hp + j] = w + x_bias[gate * Hp + j];
    }
  }
}

template <class Cell, class T>
struct Plan {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  // The input products are made where the gates will be saved.
  static constexpr bool x_in_gates = Cell::saved > 0 && __is_same(Storage, Compute);

  const CallOf<T>& call;
  Index Hp;
  Order<T> order;
  Storage* no_h;                 // (P) zeros
  Compute* zeros;                // (Hp)
  Packed<Cell, T>* packed;       // [recurrences]
  StepBuffers<T>* buffers;       // [members], or where steps are shared [recurrences]
  ForwardPointers<T>* pointers;  // [members]
  bool by_symbol, projected, tabled;
  bool unpacked;  // few rows, each weight is read once: packing would cost more than it saves

  // `kept`: where the packed weights go.
  Plan(const CallOf<T>& c, int members, Arena& arena, Arena& kept) : call(c) {
    Hp = padded<Compute>(c.H);
    by_symbol = c.recurrence[0].symbols.data;
    projected = c.recurrence[0].weights.W_hr;
    tabled = by_symbol && (c.reused || c.I <= 2 * c.T * c.B);
    unpacked = c.T == 1 && c.B <= kUnpackedRows && !c.reused && !c.gradients;
    order.layout(c, arena);
    arena.take(c.P, no_h);
    arena.take(Hp, zeros);
    arena.take(c.recurrences, packed);
    const Index passes = c.division == Division::steps ? c.recurrences : members;
    const Index chunk_rows = min_of(c.T * c.B, max_of(kChunkRows, c.B));
    arena.take(passes, buffers);
    arena.take(members, pointers);
    for (Index k = 0; k < passes; ++k) {
      StepBuffers<T> to;
      arena.take((x_in_gates && c.save) || tabled ? 0 : chunk_rows * Cell::gates * Hp, to.x_part);
      arena.take(projected ? c.B * Hp : 0, to.m);
      if (buffers) buffers[k] = to;
    }
    for (int k = 0; k < members; ++k) {
      ForwardPointers<T> to;
      const Index step_rows = c.gradients ? chunk_rows : c.B;
      arena.take(step_rows, to.h_prev, to.c_prev, to.x_part);
      arena.take(step_rows, to.y, to.saved, to.m);
      arena.take(step_rows, to.c);
      arena.take(chunk_rows, to.x);
      arena.take(chunk_rows, to.out);
      if (pointers) pointers[k] = to;
    }
    for (Index k = 0; k < c.recurrences; ++k) {
      const Packed<Cell, T> to = lay(c.recurrence[k], arena, kept);
      if (packed) packed[k] = to;
    }
  }

  Plan(const CallOf<T>& c, int members, Arena& arena) : Plan(c, members, arena, arena) {}

  // How the steps of this call are cut for this many members.
  Grid grid(Index members) const {
    return {call.recurrences, blocking(call.division, members, call.recurrences, call.B, packed[0].hidden.count)};
  }

  // What depends on the weights alone: W and the biases, packed.
  void pack(const Team& team) {
    for (Index k = 0; k < call.recurrences; ++k) pack_biases(call.recurrence[k].weights, packed[k]);
    const Index parts = parts_of_each(team, call.recurrences);
    team.share(call.recurrences * parts, [&](Index item, int) {
      const Index k = item / parts;
      pack_weights(call.recurrence[k].weights, packed[k], {item % parts, parts});
    });
  }

  // What depends on the call: rows in order, and zeros.
  void arrange() {
    order.fill();
    for (Index k = 0; k < call.P; ++k) no_h[k] = Storage{};
    for (Index k = 0; k < Hp; ++k) zeros[k] = 0;
  }

  void symbol_product(const Storage* W_ih, const Compute* x_bias, Index symbol, Range units, Compute* out) const {
    symbol_column<Cell>(W_ih, call.H, call.I, symbol, x_bias, Hp, units, out);
  }

 private:
  Packed<Cell, T> lay(const RecurrenceOf<T>& recurrence, Arena& arena, Arena& kept) const {
    const CallOf<T>& c = call;
    Packed<Cell, T> to;
    // Rows multiplied at a time; weights that are kept packed may be read by calls of other sizes.
    const Index rows = c.segment || unpacked || c.reused ? kAnyRows : c.B;
    to.input = {c.H, c.I};
    to.hidden = {c.H, c.P, 1, rows};
    to.projection = {c.P, c.H, 1, rows};
    if (unpacked) {
      to.input.unpacked = recurrence.weights.W_ih;
      to.hidden.unpacked = recurrence.weights.W_hh;
      to.projection.unpacked = recurrence.weights.W_hr;
    }
    kept.take(by_symbol || unpacked ? 0 : to.input.size(), to.input.data);
    kept.take(unpacked ? 0 : to.hidden.size(), to.hidden.data);
    kept.take(projected && !unpacked ? to.projection.size() : 0, to.projection.data);
    kept.take(Cell::gates * Hp, to.x_bias);
    kept.take(Cell::vectors * Hp, to.vectors);
    kept.take(tabled ? c.I * Cell::gates * Hp : 0, to.table);
    arena.take(Cell::has_c && !c.save ? c.B * Hp : 0, to.c);
    return to;
  }

  void pack_biases(const Weights<const Storage>& weights, Packed<Cell, T>& to) const {
    pack_x_bias<Cell>(weights, call.H, Hp, to.x_bias);
    pack_vectors<Cell>(weights, call.H, Hp, to.vectors);
  }

  // A part of the panels of each matrix.
  void pack_weights(const Weights<const Storage>& weights, const Packed<Cell, T>& to, Part part) const {
    if (!unpacked) {
      pack_transposed(to.hidden, weights.W_hh, part);
      if (!by_symbol) pack_transposed(to.input, weights.W_ih, part);
      if (projected) pack_transposed(to.projection, weights.W_hr, part);
    }
    if (tabled) {
      const Range symbols = part.of(call.I);
      for (Index s = symbols.begin; s < symbols.end; ++s)
        symbol_product(weights.W_ih, to.x_bias, s, {0, Hp}, to.table + s * Cell::gates * Hp);
    }
  }
};
