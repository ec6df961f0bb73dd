// SPDX-License-Identifier: Apache-2.0
// The head, y = W x + b, and its training: the cross-entropy of softmax(y) and all gradients in one pass.
//
//   for each chunk of rows:   y = W x + b,  loss = -log softmax(y)[target]
//                             dy = softmax(y) - one_hot(target),  dx = W^T dy      while y is still in cache
//                             dW += dy^T x,  db += dy                              over all rows of the chunk
//
// The logits of all rows (N, V) are never in memory at once.  Rows are summed in blocks of a fixed number, the first
// row first, so the bits do not depend on the number of threads.

// Replaces the logits y of a row by e^(y - max), and sums these.
template <class Real>
struct Softmax {
  Real max, sum;

  Softmax(Real* y, Index padded_V) : max(y[0]), sum(0) {
    Vec<Real> most = load(y), total = {};
    for (Index v = kWidth<Real>; v < padded_V; v += kWidth<Real>) most = at_least(load(y + v), most);
    for (Index lane = 0; lane < kWidth<Real>; ++lane) max = most[lane] > max ? most[lane] : max;
    for (Index v = 0; v < padded_V;) {
      Vec<Real> part = {};
      for (const Index end = min_of(v + kChain * kWidth<Real>, padded_V); v < end; v += kWidth<Real>) {
        const Vec<Real> x = at_least(load(y + v) - max, broadcast(ExpConstants<Real>::lowest));
        const auto [power, fraction] = exp_parts<Real>(x);
        const Vec<Real> e = fma(power, fraction, power);
        store(y + v, e);
        part += e;
      }
      total += part;
    }
    for (Index lane = 0; lane < kWidth<Real>; ++lane) sum += total[lane];
  }
};

// The numbers of a row from p on, in double; -inf in the lanes past n.
template <class Real>
[[gnu::always_inline]] inline Vec<double> wide_n(const Real* p, Index n) {
  using Some [[gnu::vector_size(kWidth<double> * sizeof(Real))]] = Real;
  Some some;
  if (n >= kWidth<double>) {
    __builtin_memcpy(&some, p, sizeof some);
  } else {
    for (Index l = 0; l < kWidth<double>; ++l) some[l] = l < n ? p[l] : -__builtin_huge_val();
  }
  return __builtin_convertvector(some, Vec<double>);
}

// log sum_v e^(y[v]) of each row of logits y (N, V), in double: NaN where a logit is NaN or +inf, or all are -inf.
template <class Real>
void log_sums(const Real* y, Index N, Index V, double* sums) {
  const FlushDenormals flush;
  constexpr Index width = kWidth<double>;
  for (Index n = 0; n < N; ++n, y += V) {
    Vec<double> most = wide_n(y, V), total = {};
    for (Index v = width; v < V; v += width) most = at_least(wide_n(y + v, V - v), most);
    double top = most[0], sum = 0;
    for (Index lane = 1; lane < width; ++lane) top = most[lane] > top ? most[lane] : top;
    for (Index v = 0; v < V; v += width) {
      const Vec<double> x = at_least(wide_n(y + v, V - v) - top, broadcast(ExpConstants<double>::lowest));
      const auto [power, fraction] = exp_parts<double>(x);
      total += fma(power, fraction, power);
    }
    for (Index lane = 0; lane < width; ++lane) sum += total[lane];
    sums[n] = top + __builtin_log(sum);
  }
}

template <class T>
Panels<typename T::Storage, typename T::Sum> linear_panels(const Linear<typename T::Storage>& head, void* weights) {
  Panels<typename T::Storage, typename T::Sum> panels(head.V, head.H);
  panels.data = static_cast<Lane<typename T::Storage>*>(weights);
  return panels;
}

template <class T>
StepBytes linear_bytes(const Linear<typename T::Storage>& head) {
  Arena weights(nullptr), own(nullptr);
  weights.take<Lane<typename T::Storage>>(linear_panels<T>(head, nullptr).size());
  own.take<const typename T::Storage*>(head.B);
  return {weights.used(), own.used()};
}

template <class T>
void pack_linear(const Linear<typename T::Storage>& head, void* weights) {
  const FlushDenormals flush;
  pack_transposed(linear_panels<T>(head, weights), head.W, kWhole);
}

template <class T>
void linear(const Linear<typename T::Storage>& head, const void* weights, void* own) {
  const FlushDenormals flush;
  const auto panels = linear_panels<T>(head, const_cast<void*>(weights));
  const auto rows = static_cast<const typename T::Storage**>(own);
  for (Index b = 0; b < head.B; ++b) rows[b] = head.x + b * head.H;
  multiply_rows(panels, panels.whole(), rows, head.B, [&](Index b, Index v, const typename T::Sum* sum) {
    using Compute = typename T::Compute;
    const Index n = panels.lanes(v);
    store_n(head.y + b * head.V + v, convert<Compute>(load(sum)) + read_n<Compute>(head.b + v, n), n);
  });
}

template <class T>
struct HeadPlan {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;
  static constexpr Index block = 128;  // rows

  Index Vp, chunk;
  Panels<Storage, Sum> forward, backward;  // W transposed for y, W as it stands for dx
  Compute* y;                              // (chunk, Vp): the logits, then their gradient
  Storage* dy;                             // the gradient as the products read it: y itself, or rounded
  LeftSide<Storage> dy_left;               // and as dW reads it
  double* nats;                            // (chunk)
  Sum* db;                                 // (Vp)
  struct Own {
    const Storage **x_rows, **dy_rows;  // (chunk)
    Lane<Storage>** dy_lanes;           // (chunk + kAhead)
    Index* block_ends;                  // (blocks of a chunk)
    Lane<Storage>* right;               // one panel of x: (chunk, 4 vectors)
  }* own;                               // [members]

  HeadPlan(const HeadPass<Storage>& pass, int members, Arena& arena)
      : Vp(padded<Compute>(pass.V)), forward(pass.V, pass.H), backward(pass.H, pass.V) {
    const Index rows = (Index{1} << 19) / static_cast<Index>(Vp * sizeof(Compute)) / block * block;
    chunk = min_of(pass.N, min_of(8 * block, max_of(block, rows)));
    arena.take(forward.size(), forward.data);
    arena.take(backward.size(), backward.data);
    arena.take(chunk * Vp, y);
    if constexpr (__is_same(Storage, Compute)) {
      dy = y;
    } else {
      arena.take(chunk * Vp, dy);
    }
    dy_left = {1, pass.V, Vp, Vp, chunk_lanes()};
    arena.take(dy_left.size(), dy_left.packed);
    arena.take(chunk, nats);
    arena.take(Vp, db);
    arena.take(members, own);
    for (int p = 0; p < members; ++p) {
      Own mine;
      arena.take(chunk, mine.x_rows, mine.dy_rows);
      arena.take(chunk + kAhead, mine.dy_lanes);
      arena.take(chunk / block + 1, mine.block_ends);
      arena.take(chunk_lanes() * kPanelVectors * kWidth<Sum>, mine.right);
      if (own) own[p] = mine;
    }
  }

  // Blocks are of an even number of rows, so that only the last may end in half a lane.
  Index chunk_lanes() const { return lanes_of<Storage>(chunk); }
};

template <class T>
class HeadTraining {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;

 public:
  HeadTraining(const HeadPass<Storage>& pass, HeadPlan<T>& plan, const Team& team)
      : pass_(pass), plan_(plan), team_(team) {}

  void run() {
    prepare();
    const Index parts = parts_of_each(team_, 1);
    double total = 0;
    for (Index n0 = 0; n0 < pass_.N; n0 += plan_.chunk) {
      const Index rows = min_of(pass_.N - n0, plan_.chunk);
      team_.share(parts, [&](Index item, int member) { rows_of_chunk(n0, Part{item, parts}.of(rows), member); });
      for (Index n = 0; n < rows; ++n) total += plan_.nats[n];
      add_weights(n0, rows);
    }
    *pass_.nats = total;
    for (Index v = 0; v < pass_.V; ++v) pass_.db[v] += plan_.db[v];
  }

 private:
  void prepare() {
    for (Index v = 0; v < plan_.Vp; ++v) plan_.db[v] = 0;
    const Index parts = parts_of_each(team_, 1);
    team_.share(parts, [&](Index item, int) {
      pack_transposed(plan_.forward, pass_.W, {item, parts});
      pack_plain(plan_.backward, pass_.W, {item, parts});
    });
  }

  const Storage* x_row(Index n) const { return pass_.x + n * pass_.H; }

  // y, the loss, dy and dx of some rows of the chunk that starts at n0.
  void rows_of_chunk(Index n0, Range mine, int member) const {
    const auto& own = plan_.own[member];
    for (Index n = mine.begin; n < mine.end; ++n) {
      own.x_rows[n] = x_row(n0 + n);
      own.dy_rows[n] = plan_.dy + n * plan_.Vp;
    }
    const Index rows = mine.end - mine.begin;
    const auto &forward = plan_.forward, &backward = plan_.backward;
    multiply_rows(forward, forward.whole(), own.x_rows + mine.begin, rows, [&](Index r, Index v, const Sum* sum) {
      store(plan_.y + (mine.begin + r) * plan_.Vp + v,
            convert<Compute>(load(sum)) + read_n<Compute>(pass_.b + v, forward.lanes(v)));
    });
    for (Index n = mine.begin; n < mine.end; ++n) {
      Compute* y = plan_.y + n * plan_.Vp;
      plan_.nats[n] = cross_entropy(y, pass_.targets[n0 + n]);
      if constexpr (!__is_same(Storage, Compute)) {
        for (Index v = 0; v < plan_.Vp; v += kWidth<Compute>) write<Compute>(plan_.dy + n * plan_.Vp + v, load(y + v));
      }
    }
    multiply_rows(backward, backward.whole(), own.dy_rows + mine.begin, rows, [&](Index r, Index j, const Sum* sum) {
      write_n<Compute>(pass_.dx + (n0 + mine.begin + r) * pass_.H + j, load(sum), backward.lanes(j));
    });
  }

  // -log softmax(y)[target] in nats; y becomes its gradient.  A negative target predicts nothing.
  double cross_entropy(Compute* y, Index target) const {
    if (target < 0) {
      for (Index v = 0; v < plan_.Vp; ++v) y[v] = 0;
      return 0;
    }
    const Compute y_target = y[target];
    for (Index v = pass_.V; v < plan_.Vp; ++v) y[v] = -__builtin_huge_val();
    const Softmax<Compute> softmax(y, plan_.Vp);
    for (Index v = 0; v < plan_.Vp; v += kWidth<Compute>) store(y + v, load(y + v) / softmax.sum);
    y[target] -= 1;
    return __builtin_log(static_cast<double>(softmax.sum)) - (static_cast<double>(y_target) - softmax.max);
  }

  // dW += dy^T x and db += dy; the outputs, not the rows, are cut into items.
  void add_weights(Index n0, Index rows) {
    const auto& own = plan_.own[0];
    Index blocks = 0;
    for (Index n = 0; n < rows; ++n) {
      own.x_rows[n] = x_row(n0 + n);
      own.dy_rows[n] = plan_.dy + n * plan_.Vp;
      if ((n + 1) % HeadPlan<T>::block == 0 || n + 1 == rows) own.block_ends[blocks++] = n + 1;
    }
    const Blocks by_block{own.block_ends, blocks};
    plan_.dy_left.point(own.dy_rows, by_block, own.dy_lanes);
    if (plan_.dy_left.fills) {
      const Index parts = parts_of_each(team_, 1);
      team_.share(parts,
                  [&](Index item, int) { plan_.dy_left.fill(own.dy_rows, by_block, {item, parts}, own.dy_lanes); });
    }
    const OuterProduct<Storage, Sum> dW{plan_.dy_left, own.dy_lanes, &kStart, 1, own.x_rows, pass_.H, pass_.dW};
    const Index panels = Panels<Storage, Sum>(pass_.H, 0).count, parts = parts_of_each(team_, panels);
    team_.share(panels * parts + 1, [&](Index item, int member) {
      if (item == panels * parts) return add_rows(own.dy_rows, plan_.Vp, by_block, kWhole, plan_.db);
      add_outer_product(dW, by_block, {item / parts, panels}, {item % parts, parts}, plan_.own[member].right);
    });
  }

  const HeadPass<Storage>& pass_;
  HeadPlan<T>& plan_;
  const Team& team_;
};

template <class T>
std::size_t head_bytes(const HeadPass<typename T::Storage>& pass, int members) {
  Arena arena(nullptr);
  const HeadPlan<T> plan(pass, members, arena);
  return arena.used();
}

template <class T>
void head(const HeadPass<typename T::Storage>& pass, void* scratch, const Team& team) {
  const FlushDenormals flush;
  Arena arena(scratch);
  HeadPlan<T> plan(pass, team.size, arena);
  HeadTraining<T>(pass, plan, team).run();
}
