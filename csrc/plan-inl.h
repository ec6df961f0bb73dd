// SPDX-License-Identifier: Apache-2.0
// Everything that is settled before the time loop starts: the order of the rows, who walks which rows, where the
// scratch lies, and the weights packed into panels.

// Hands out pieces of the caller's scratch.  With a null base it only counts: scratch_bytes runs the same code.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}

  template <class Element>
  Element* take(Index n) {
    const std::size_t bytes = (static_cast<std::size_t>(n > 0 ? n : 0) * sizeof(Element) + 63) / 64 * 64;
    Element* piece = base_ ? reinterpret_cast<Element*>(base_ + used_) : nullptr;
    used_ += bytes;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

// How a call is divided among its threads.  None of the three changes a bit of the result.
enum class Division {
  rows,    // each thread walks its own rows of every net: no barrier in the time loop
  nets,    // each thread walks all rows of its own nets
  panels,  // all threads walk all rows together, each its own units: one barrier a step
};

template <class Real>
inline Division choose_division(const Call<Real>& call, int threads) {
  if (threads == 1) return Division::rows;
  // Fewer rows than this a thread, and loading the weights costs more than the arithmetic.  Weights that outgrow the
  // cache next to a core come from one that all share: then it pays to let each thread read only its part of them.
  constexpr Index near_bytes = Index{1} << 19;
  const Index W_hh_bytes = gate_count(call.cell) * call.H * call.P * static_cast<Index>(sizeof(Real));
  const Index few_rows = W_hh_bytes > near_bytes ? 16 : 4;
  if (call.B >= few_rows * threads) return Division::rows;
  if (call.nets >= threads) return Division::nets;
  return call.H >= 2 * kPanelVectors * kWidth<Real> ? Division::panels : Division::rows;
}

// The rows and panels that one thread walks.
struct Share {
  Index first, stride, rows;  // row k of the share is order[first + k * stride]
  int part, parts;            // of the panels
  bool together;              // other threads walk the same rows

  Index begin(Index panels) const { return panels * part / parts; }
  Index end(Index panels) const { return panels * (part + 1) / parts; }
};

// `part` of `parts` of a range.
struct Range {
  Index begin, end;
  Range(Index n, int part, int parts) : begin(n * part / parts), end(n * (part + 1) / parts) {}
};

template <class Real>
inline Share choose_share(const Call<Real>& call, Division division, const Team& team) {
  if (division == Division::nets) return {0, 1, call.B, 0, 1, false};
  if (division == Division::panels) return {0, 1, call.B, team.id, team.size, true};
  if (!call.lengths && !call.batch_sizes) {
    const Range rows(call.B, team.id, team.size);
    return {rows.begin, 1, rows.end - rows.begin, 0, 1, false};
  }
  // Ragged: deal the rows out like cards, longest first, so that every thread has its part of each length.
  return {team.id, team.size, (call.B - team.id + team.size - 1) / team.size, 0, 1, false};
}

inline bool walks_net(Division division, Index net, const Team& team) {
  return division != Division::nets || net % team.size == team.id;
}

// Rows b of `from` (width wide, null: zeros) into rows padded_width wide, zeros behind them.
template <class Real>
inline void pad_rows(Real* to, const Real* from, Index width, Index padded_width, Range b) {
  for (Index k = b.begin; k < b.end; ++k) {
    for (Index j = 0; j < padded_width; ++j)
      to[k * padded_width + j] = from && j < width ? from[k * width + j] : Real{0};
  }
}

// The rows of a call: who is active when, and where step t of row b lies.
template <class Real>
struct Order {
  const Call<Real>* call;
  Index* order;    // (B) rows, longest first; rows of one length in their own order
  Index* length;   // (B)
  Index* place;    // (T)
  Index* longest;  // (1)

  void layout(const Call<Real>& c, Arena& arena) {
    call = &c;
    order = arena.take<Index>(c.B);
    length = arena.take<Index>(c.B);
    place = arena.take<Index>(c.T);
    longest = arena.take<Index>(1);
  }

  void fill(Index* counts /* (T + 1) scratch */) {
    const Call<Real>& c = *call;
    Index before = 0;
    for (Index t = 0; t < c.T; ++t) {
      place[t] = c.batch_sizes ? before : t;
      if (c.batch_sizes) before += c.batch_sizes[t];
    }
    if (c.batch_sizes) {
      for (Index b = 0, t = c.T; b < c.B; ++b) {
        while (t > 0 && c.batch_sizes[t - 1] <= b) --t;
        length[b] = t;
      }
    } else {
      for (Index b = 0; b < c.B; ++b) length[b] = c.lengths ? c.lengths[b] : c.T;
    }
    for (Index t = 0; t <= c.T; ++t) counts[t] = 0;  // counting sort, longest first
    for (Index b = 0; b < c.B; ++b) ++counts[length[b]];
    Index start = 0;
    for (Index t = c.T; t >= 0; --t) {
      const Index n = counts[t];
      counts[t] = start;
      start += n;
    }
    for (Index b = 0; b < c.B; ++b) order[counts[length[b]]++] = b;
    *longest = c.B > 0 ? length[order[0]] : 0;
  }

  // Steps to walk: those of the longest row, so that padding behind it changes neither time nor the blocks of the sums.
  Index steps() const { return *longest; }

  template <class Element>
  Element* row(const Rows<Element>& rows, Index t, Index b) const {
    return rows.data + place[t] * rows.time_stride + b * rows.batch_stride;
  }

  bool resets(Index t, Index b) const { return call->reset.data && *row(call->reset, t, b); }

  // How many rows of a share are inside their sequence at t; n is the number at a neighbouring t.
  Index active(const Share& share, Index t, Index n) const {
    while (n < share.rows && length[order[share.first + n * share.stride]] > t) ++n;
    while (n > 0 && length[order[share.first + (n - 1) * share.stride]] <= t) --n;
    return n;
  }
};

// Steps in a segment: whole blocks, so that the sums over rows do not see where it ends.
template <class Real>
inline Index segment_steps(const Call<Real>& call) {
  const Index block = block_steps(call.B);
  return (call.segment + block - 1) / block * block;
}

// Where the steps of a walk from `begin` on keep their gates and cells: the caller's buffers, or those of a segment.
template <class Real>
struct Kept {
  Rows<Real> gates, cells;
  Index begin = 0;
  Real* c_before = nullptr;  // (B, Hp): c before step `begin`, for rows that do not start there

  Real* before(Index s) const { return s == begin ? c_before : nullptr; }
};

template <class Real>
struct NetPlan {
  Panels<Real> input, hidden, projection;
  Real* x_bias;  // (G, Hp): b_ih + b_hh, but b_ih alone for the GRU's n
  Real* b_hn;    // (Hp): the GRU's
  Real* c_0;     // (B, Hp), null when the state starts from zeros
  Real* table;   // (I, G, Hp): the input product of every symbol, null when rows are projected one by one
  Real* c;       // (B, Hp): the running cell state at inference
};

// The buffers of one walk; shared by the threads that walk together.
template <class Real>
struct WalkBuffers {
  Real* x_part;  // (steps of a chunk, B, G, Hp): the input products, where the kept gates cannot hold them
  Real* m;       // (B, Hp): o * tanh(c) before the projection
};

// Pointers to the rows of one step, so that resets, ragged ends and layouts cost nothing inside the product.
template <class Real>
struct StepRows {  // or of the steps of a chunk, where every h_{t-1} is known
  const Real** h_prev;
  const Real** c_prev;
  const Real** x_part;
  Real** h;
  Real** c;
  Real** keep;

  void layout(Index rows, Arena& arena) {
    h_prev = arena.take<const Real*>(rows);
    c_prev = arena.take<const Real*>(rows);
    x_part = arena.take<const Real*>(rows);
    h = arena.take<Real*>(rows);
    c = arena.take<Real*>(rows);
    keep = arena.take<Real*>(rows);
  }
};

template <class Real>
struct ThreadBuffers {
  StepRows<Real> step;
  const Real** x_rows;  // (rows of a chunk)
  Real** out_rows;      // (rows of a chunk)
};

template <class Real>
constexpr Index max_of(Real a, Real b) {
  return a > b ? a : b;
}

template <class Cell, class Real>
struct Plan {
  const Call<Real>& call;
  int threads;
  Index Hp, chunk;
  Division division;
  Order<Real> order;
  Index* counts;
  Real* zeros;  // (max(P, slots * Hp))
  NetPlan<Real>* nets;
  WalkBuffers<Real>* walks;
  ThreadBuffers<Real>* buffers;
  bool by_symbol, tabled;
  bool unpacked;  // few rows read each weight once: packing would cost more than it saves

  // Every thread lays the same plan over the same scratch; one of them writes the tables.
  Plan(const Call<Real>& c, int threads, Arena& arena, bool writes) : call(c), threads(threads) {
    Hp = padded<Real>(c.H);
    division = choose_division(c, threads);
    by_symbol = c.nets > 0 && c.net[0].symbols.data != nullptr;
    tabled = by_symbol && (c.reused || c.I <= 2 * c.T * c.B);
    unpacked = c.T == 1 && c.B <= kUnpackedRows && !c.reused && !c.gradients;
    const Index walkers = division == Division::nets ? threads : 1;
    // Enough rows in a chunk that W_ih is read from near, few enough that the products stay near.
    constexpr Index chunk_rows = 96;
    const Index rows = max_of<Index>(1, division == Division::rows ? c.B / threads : c.B);
    chunk = max_of<Index>(1, chunk_rows / rows);
    if (chunk > c.T) chunk = c.T;

    order.layout(c, arena);
    counts = arena.take<Index>(c.T + 1);
    zeros = arena.take<Real>(max_of<Index>(c.P, 4 * Hp));
    nets = arena.take<NetPlan<Real>>(c.nets);
    walks = arena.take<WalkBuffers<Real>>(walkers);
    buffers = arena.take<ThreadBuffers<Real>>(threads);
    const bool kept_hold_x = c.keep && Cell::saved > 0;
    for (Index w = 0; w < walkers; ++w) {
      WalkBuffers<Real> walk;
      walk.x_part = arena.take<Real>(kept_hold_x || tabled ? 0 : chunk * c.B * Cell::gates * Hp);
      walk.m = arena.take<Real>(c.P != c.H || has_projection() ? c.B * Hp : 0);
      if (writes) walks[w] = walk;
    }
    for (int p = 0; p < threads; ++p) {
      ThreadBuffers<Real> own;
      own.step.layout(c.gradients ? chunk * c.B : c.B, arena);  // on the way back, every h_{t-1} is known
      own.x_rows = arena.take<const Real*>(chunk * c.B);
      own.out_rows = arena.take<Real*>(chunk * c.B);
      if (writes) buffers[p] = own;
    }
    for (Index k = 0; k < c.nets; ++k) {
      NetPlan<Real> net;
      net.input = Panels<Real>(c.H, c.I, Cell::gates);
      net.hidden = Panels<Real>(c.H, c.P, Cell::gates);
      net.projection = Panels<Real>(c.P, c.H, 1);
      if (unpacked) {
        net.input.unpacked = c.net[k].weights.W_ih;
        net.hidden.unpacked = c.net[k].weights.W_hh;
        net.projection.unpacked = c.net[k].weights.W_hr;
      }
      net.input.data = arena.take<Real>(by_symbol || unpacked ? 0 : net.input.size());
      net.hidden.data = arena.take<Real>(unpacked ? 0 : net.hidden.size());
      net.projection.data = arena.take<Real>(has_projection() && !unpacked ? net.projection.size() : 0);
      net.x_bias = arena.take<Real>(Cell::gates * Hp);
      net.b_hn = arena.take<Real>(Hp);
      net.c_0 = arena.take<Real>(Cell::has_c && c.net[k].c_0 ? c.B * Hp : 0);
      if (!c.net[k].c_0) net.c_0 = nullptr;
      net.table = arena.take<Real>(tabled ? c.I * Cell::gates * Hp : 0);
      net.c = arena.take<Real>(Cell::has_c && !c.keep ? c.B * Hp : 0);
      if (writes) nets[k] = net;
    }
  }

  bool has_projection() const { return call.nets > 0 && call.net[0].weights.W_hr != nullptr; }

  WalkBuffers<Real>& walk_of(const Team& team) const { return walks[division == Division::nets ? team.id : 0]; }

  // What depends on the weights alone: W and the biases, packed.  Ends with a barrier.
  void pack(const Team& team) const {
    for (Index k = 0; k < call.nets; ++k) {
      if (team.id == k % team.size) pack_biases(call.net[k], nets[k]);
    }
    team.wait();  // the table needs the biases
    for (Index k = 0; k < call.nets; ++k) pack_weights(call.net[k], nets[k], team);
    team.wait();
  }

  // What depends on the call: rows in order, zeros, c_0 padded.  Begins and ends with a barrier.
  void arrange(const Team& team) const {
    team.wait();  // for the tables
    if (team.id == 0) {
      Order<Real> rows = order;
      rows.fill(counts);
      for (Index k = 0; k < max_of<Index>(call.P, 4 * Hp); ++k) zeros[k] = 0;
    }
    const Range b(call.B, team.id, team.size);
    for (Index k = 0; k < call.nets; ++k) {
      if (nets[k].c_0) pad_rows(nets[k].c_0, call.net[k].c_0, call.H, Hp, b);
    }
    team.wait();
  }

 private:
  void pack_biases(const Net<Real>& net, NetPlan<Real>& to) const {
    const Index H = call.H;
    constexpr bool gru = Cell::kind == CellKind::gru;
    for (int gate = 0; gate < Cell::gates; ++gate) {
      for (Index j = 0; j < Hp; ++j) {
        const Real b_i = net.weights.b_ih && j < H ? net.weights.b_ih[gate * H + j] : Real{0};
        const Real b_h = net.weights.b_hh && j < H && !(gru && gate == 2) ? net.weights.b_hh[gate * H + j] : Real{0};
        to.x_bias[gate * Hp + j] = b_i + b_h;
      }
    }
    for (Index j = 0; j < Hp; ++j)
      to.b_hn[j] = gru && net.weights.b_hh && j < H ? net.weights.b_hh[2 * H + j] : Real{0};
  }

  void pack_weights(const Net<Real>& net, NetPlan<Real>& to, const Team& team) const {
    const Range hidden(unpacked ? 0 : to.hidden.count, team.id, team.size);
    for (Index p = hidden.begin; p < hidden.end; ++p) pack_transposed(to.hidden, p, net.weights.W_hh);
    if (!by_symbol) {
      for (Index p = hidden.begin; p < hidden.end; ++p) pack_transposed(to.input, p, net.weights.W_ih);
    }
    if (net.weights.W_hr && !unpacked) {
      const Range projection(to.projection.count, team.id, team.size);
      for (Index p = projection.begin; p < projection.end; ++p) pack_transposed(to.projection, p, net.weights.W_hr);
    }
    if (tabled) {
      const Range symbols(call.I, team.id, team.size);
      for (Index s = symbols.begin; s < symbols.end; ++s) symbol_product(net, to, s, to.table + s * Cell::gates * Hp);
    }
  }

 public:
  // W_ih times a one-hot vector: a column of W_ih, plus the biases.
  void symbol_product(const Net<Real>& net, const NetPlan<Real>& plan, Index symbol, Real* out) const {
    for (int gate = 0; gate < Cell::gates; ++gate) {
      for (Index j = 0; j < Hp; ++j) {
        const Real w = j < call.H ? net.weights.W_ih[(gate * call.H + j) * call.I + symbol] : Real{0};
        out[gate * Hp + j] = w + plan.x_bias[gate * Hp + j];
      }
    }
  }
};
