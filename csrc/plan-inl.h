// SPDX-License-Identifier: Apache-2.0
// What the time loop needs before it starts: the order of the rows, which thread has which rows, the layout of the
// scratch, and the weights packed into panels.

// The weights of one recurrence, packed for the forward pass, and its states.
template <class Cell, class T>
struct Packed {
  using Compute = typename T::Compute;
  Panels<typename T::Storage, typename T::Sum, Cell::gates> input, hidden;
  Panels<typename T::Storage, typename T::Sum> projection;
  Compute* x_bias;   // (G, Hp): b_ih + b_hh, but b_ih alone for the GRU's n
  Compute* vectors;  // (vectors, Hp): per-unit vectors
  StartCells<T> c_start;
  Compute* table;  // (I, G, Hp): the input product of every symbol, null when rows are projected one by one
  Compute* c;      // (B, Hp): the running cell state at inference
};

// The buffers of one pass; shared by the threads that have the same rows.
template <class T>
struct StepBuffers {
  T::Compute* x_part;  // (steps of a chunk, B, G, Hp): the input products, where the saved gates cannot hold them
  T::Compute* m;       // (B, Hp): o * tanh(c) before the projection
};

// Pointers to the rows of one step, so that resets, ragged ends and layouts cost nothing inside the product.  When
// gates are recomputed every h_{t-1} is known, and these are the rows of a whole chunk.
template <class T>
struct StepRows {
  const T::Storage** h_prev;
  const T::Compute **c_prev, **x_part;
  T::Storage **y, **saved;
  T::Compute **m, **c;
  const T::Storage** x;  // of a chunk
  T::Compute** out;      // of a chunk
};

template <class Cell, class T>
struct Plan {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  // The input products are made where the gates will be saved.
  static constexpr bool x_in_gates = Cell::saved > 0 && __is_same(Storage, Compute);

  const CallOf<T>& call;
  Index Hp, chunk;
  Division division;
  Order<T> order;
  Storage* no_h;   // (P) zeros
  Compute* zeros;  // (Hp)
  Packed<Cell, T>* packed;
  StepBuffers<T>* buffers;
  StepRows<T>* rows;
  bool by_symbol, projected, tabled;
  bool unpacked;  // few rows, each weight is read once: packing would cost more than it saves

  // Every thread computes the same layout of the same scratch; one of them writes the tables.
  Plan(const CallOf<T>& c, int threads, Arena& arena, bool writes) : call(c) {
    Hp = padded<Compute>(c.H);
    division = choose_division<T>(c, threads);
    by_symbol = c.recurrence[0].symbols.data;
    projected = c.recurrence[0].weights.W_hr;
    tabled = by_symbol && (c.reused || c.I <= 2 * c.T * c.B);
    unpacked = c.T == 1 && c.B <= kUnpackedRows && !c.reused && !c.gradients;
    // Enough rows in a chunk to use each weight of W_ih often, few enough that the products stay in cache.
    constexpr Index chunk_rows = 96;
    chunk = min_of(c.T, max_of(1, chunk_rows / max_of(1, division == Division::rows ? c.B / threads : c.B)));

    order.layout(c, arena);
    arena.take(c.P, no_h);
    arena.take(Hp, zeros);
    arena.take(c.recurrences, packed);
    const Index passes = division == Division::recurrences ? threads : 1;
    arena.take(passes, buffers);
    arena.take(threads, rows);
    for (Index k = 0; k < passes; ++k) {
      StepBuffers<T> to;
      arena.take((x_in_gates && c.save) || tabled ? 0 : chunk * c.B * Cell::gates * Hp, to.x_part);
      arena.take(projected ? c.B * Hp : 0, to.m);
      if (writes) buffers[k] = to;
    }
    for (int k = 0; k < threads; ++k) {
      StepRows<T> to;
      const Index step_rows = c.gradients ? chunk * c.B : c.B;
      arena.take(step_rows, to.h_prev, to.c_prev, to.x_part);
      arena.take(step_rows, to.y, to.saved, to.m, to.c);
      arena.take(chunk * c.B, to.x);
      arena.take(chunk * c.B, to.out);
      if (writes) rows[k] = to;
    }
    for (Index k = 0; k < c.recurrences; ++k) {
      const Packed<Cell, T> to = lay(c.recurrence[k], arena);
      if (writes) packed[k] = to;
    }
  }

  const StepBuffers<T>& buffers_of(const Team& team) const {
    return buffers[division == Division::recurrences ? team.id : 0];
  }

  // What depends on the weights alone: W and the biases, packed.  Ends with a barrier.
  void pack(const Team& team) {
    for (Index k = 0; k < call.recurrences; ++k) {
      if (team.id == k % team.size) pack_biases(call.recurrence[k].weights, packed[k]);
    }
    team.wait();  // the table needs the biases
    for (Index k = 0; k < call.recurrences; ++k) pack_weights(call.recurrence[k].weights, packed[k], team);
    team.wait();
  }

  // What depends on the call: rows in order, zeros, c_0 padded.  Begins and ends with a barrier.
  void arrange(const Team& team) {
    team.wait();  // for the tables
    if (team.id == 0) {
      order.fill();
      for (Index k = 0; k < call.P; ++k) no_h[k] = 0;
      for (Index k = 0; k < Hp; ++k) zeros[k] = 0;
    }
    const Range b(call.B, team.id, team.size);
    for (Index k = 0; k < call.recurrences; ++k) {
      packed[k].c_start.fill(call.recurrence[k], call.H, Hp, b);
    }
    team.wait();
  }

  // W_ih times a one-hot vector: a column of W_ih, plus the biases.
  void symbol_product(const Storage* W_ih, const Compute* x_bias, Index symbol, Compute* out) const {
    for (int gate = 0; gate < Cell::gates; ++gate) {
      for (Index j = 0; j < Hp; ++j) {
        const Compute w = j < call.H ? static_cast<Compute>(W_ih[(gate * call.H + j) * call.I + symbol]) : Compute{0};
        out[gate * Hp + j] = w + x_bias[gate * Hp + j];
      }
    }
  }

 private:
  Packed<Cell, T> lay(const RecurrenceOf<T>& recurrence, Arena& arena) const {
    const CallOf<T>& c = call;
    Packed<Cell, T> to;
    to.input = {c.H, c.I};
    to.hidden = {c.H, c.P};
    to.projection = {c.P, c.H};
    if (unpacked) {
      to.input.unpacked = recurrence.weights.W_ih;
      to.hidden.unpacked = recurrence.weights.W_hh;
      to.projection.unpacked = recurrence.weights.W_hr;
    }
    arena.take(by_symbol || unpacked ? 0 : to.input.size(), to.input.data);
    arena.take(unpacked ? 0 : to.hidden.size(), to.hidden.data);
    arena.take(projected && !unpacked ? to.projection.size() : 0, to.projection.data);
    arena.take(Cell::gates * Hp, to.x_bias);
    arena.take(Cell::vectors * Hp, to.vectors);
    if (Cell::has_c) to.c_start.layout(recurrence, c.B * Hp, arena);
    arena.take(tabled ? c.I * Cell::gates * Hp : 0, to.table);
    arena.take(Cell::has_c && !c.save ? c.B * Hp : 0, to.c);
    return to;
  }

  void pack_biases(const Weights<const Storage>& weights, Packed<Cell, T>& to) const {
    const Index H = call.H;
    for (int gate = 0; gate < Cell::gates; ++gate) {
      const bool joins = Cell::input_slot(gate) == Cell::hidden_slot(gate);
      const auto bias = [&](const Storage* b, Index j) {
        return b ? static_cast<Compute>(b[gate * H + j]) : Compute{0};
      };
      for (Index j = 0; j < Hp; ++j) {
        to.x_bias[gate * Hp + j] = j < H ? bias(weights.b_ih, j) + bias(joins ? weights.b_hh : nullptr, j) : Compute{0};
      }
    }
    pack_vectors<Cell>(weights, H, Hp, to.vectors);
  }

  void pack_weights(const Weights<const Storage>& weights, const Packed<Cell, T>& to, const Team& team) const {
    if (!unpacked) {
      pack_transposed(to.hidden, weights.W_hh, team);
      if (!by_symbol) pack_transposed(to.input, weights.W_ih, team);
      if (projected) pack_transposed(to.projection, weights.W_hr, team);
    }
    if (tabled) {
      const Range symbols(call.I, team.id, team.size);
      for (Index s = symbols.begin; s < symbols.end; ++s)
        symbol_product(weights.W_ih, to.x_bias, s, to.table + s * Cell::gates * Hp);
    }
  }
};
