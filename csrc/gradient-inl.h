// SPDX-License-Identifier: Apache-2.0
// The sums over the rows of a chunk: dW = da^T [x, h_{t-1}], db, and dx = W_ih^T da.  The outputs, not the rows, are
// cut into items, so each element is summed by one member in one order.

template <class Cell, class T>
class ChunkSums {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;

 public:
  // Uses the arrays of a member, for steps s1 - 1 down to s0 of one recurrence.
  ChunkSums(const BackwardPlan<Cell, T>& plan, int member, Index which, Index s0, Index s1)
      : plan_(plan), call_(plan.call), order_(plan.order), recurrence_(call_.recurrence[which]),
        gradients_(call_.gradients[which]), buffers_(plan.buffers[which]), own_(plan.sums[member]), Hp_(plan.Hp),
        timeline_{&order_, &recurrence_, plan.no_h} {
    for (int gate = 0; gate < Cell::gates; ++gate) {
      input_at_[gate] = Cell::input_slot(gate) * Hp_;
      hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
    }
    gather(s0, s1);
  }

  // All sums, item by item.  Those of each kind are cut into `parts` parts or by panels of columns, and these by units.
  Index items(Index parts) {
    const bool weights = gradients_.of_weights();
    const auto panels = [](Index columns) { return Panels<Storage, Sum>(columns, 0).count; };
    const Index columns = (plan_.by_symbol ? 0 : panels(call_.I)) + panels(call_.P);
    unit_parts_ = (parts + columns - 1) / columns;
    counts_[W_ih] = !weights ? 0 : plan_.by_symbol ? parts : panels(call_.I) * unit_parts_;
    counts_[W_hh] = weights ? panels(call_.P) * unit_parts_ : 0;
    counts_[W_hr] = weights && plan_.projected ? panels(call_.H) * unit_parts_ : 0;
    counts_[biases] = weights && !BackwardPlan<Cell, T>::da_is_rounded ? 1 : 0;
    counts_[dx] = gradients_.dx.data ? parts : 0;
    Index all = 0;
    for (const Index count : counts_) all += count;
    return all;
  }

  // `packed` has room for (rows of a chunk, kPanelVectors vectors).
  void run(Index item, Lane<Storage>* packed) const {
    int kind = 0;
    while (item >= counts_[kind]) item -= counts_[kind++];
    const Part part{item, counts_[kind]};
    const Part columns{item / unit_parts_, counts_[kind] / unit_parts_}, units{item % unit_parts_, unit_parts_};
    const Blocks blocks = this->blocks();
    switch (kind) {
      case W_ih:
        if (plan_.by_symbol) return scatter_symbols(part);
        return add_outer_product(
            OuterProduct{buffers_.da_left, own_.da_lanes, input_at_, Cell::gates, own_.x_rows, call_.I, buffers_.dW_ih},
            blocks, columns, units, packed);
      case W_hh:
        return add_outer_product(OuterProduct{buffers_.da_left, own_.da_lanes, hidden_at_, Cell::gates, own_.h_rows,
                                              call_.P, buffers_.dW_hh},
                                 blocks, columns, units, packed);
      case W_hr:
        return add_outer_product(
            OuterProduct{buffers_.dp_left, own_.dp_lanes, &kStart, 1, own_.m_rows, call_.H, buffers_.dW_hr}, blocks,
            columns, units, packed);
      case biases: return add_rows(own_.da_rows, Cell::slots * Hp_, blocks, part, buffers_.db);
      case dx: return input_gradients(part);
    }
  }

  // Some of da and dp as dW reads them, before any sums.
  static constexpr bool fills = LeftSide<Storage>::fills;
  void fill(Part part) const {
    if (!gradients_.of_weights()) return;
    buffers_.da_left.fill(own_.da_rows, blocks(), part, own_.da_lanes);
    if (plan_.projected) buffers_.dp_left.fill(own_.dp_rows, blocks(), part, own_.dp_lanes);
  }

 private:
  enum Kind { W_ih, W_hh, W_hr, biases, dx, kinds };
  static constexpr Index kNone = -1;

  // The rows of the chunk in the order of the sums: the last step first, rows in their order.
  void gather(Index s0, Index s1) {
    const Share all = all_rows(call_.B);
    Index n = call_.B;
    for (Index s = s1; s-- > s0;) {
      const Index t = timeline_.time(s);
      n = order_.active(all, t, n);
      for (Index k = 0; k < n; ++k) gather_row(s, t, order_.order[k]);
      if ((s1 - s) % plan_.block == 0 || s == s0) own_.block_ends[blocks_++] = rows_;
    }
    if (plan_.by_symbol) link_alike();
    if (!gradients_.of_weights()) return;
    buffers_.da_left.point(own_.da_rows, blocks(), own_.da_lanes);
    if (plan_.projected) buffers_.dp_left.point(own_.dp_rows, blocks(), own_.dp_lanes);
  }
  Blocks blocks() const { return {own_.block_ends, blocks_}; }

  void gather_row(Index s, Index t, Index b) {
    own_.da_rows[rows_] = buffers_.da + plan_.ring(s, b) * plan_.da_width;
    own_.h_rows[rows_] = timeline_.h_prev(t, b, timeline_.origin(t, b));
    if (plan_.by_symbol) {
      own_.symbol_rows[rows_] = order_.row(recurrence_.symbols, t, b);
    } else {
      own_.x_rows[rows_] = order_.row(recurrence_.x, t, b);
    }
    if (gradients_.dx.data) own_.dx_rows[rows_] = order_.row(gradients_.dx, t, b);
    if (plan_.projected) {
      own_.dp_rows[rows_] = buffers_.dp + plan_.ring(s, b) * plan_.Pp;
      own_.m_rows[rows_] = buffers_.m + plan_.ring(s, b) * Hp_;
    }
    ++rows_;
  }

  // For one-hot input: rows of one chain that have the same symbol are linked, from the first on.
  void link_alike() {
    for (Index block = 0, begin = 0; block < blocks_; begin = own_.block_ends[block++]) {
      for (Index k = begin; k < own_.block_ends[block]; ++k) {
        if (k - begin == kChain) begin = k;
        const Index symbol = *own_.symbol_rows[k], before = own_.latest[symbol];
        // Whatever `latest` held before, it is right if it names a row of this chain with this symbol.
        const bool leads = before < begin || before >= k || *own_.symbol_rows[before] != symbol;
        own_.leads[k] = leads;
        own_.alike[k] = kNone;
        if (!leads) own_.alike[before] = k;
        own_.latest[symbol] = k;
      }
    }
  }

  // dW_ih for one-hot input: the sum of da over the rows of a chain that have a symbol goes to its column.
  void scatter_symbols(Part part) const {
    constexpr int together = 4;
    const Index vectors_of_gate = Hp_ / kWidth<Sum>;
    const Range vectors = part.of(Cell::gates * vectors_of_gate);
    for (Index k = 0; k < rows_; ++k) {
      for (Index v = vectors.begin; own_.leads[k] && v < vectors.end;) {
        const Index left = min_of(vectors.end - v, vectors_of_gate - v % vectors_of_gate);  // in this gate
        const int V = left < together ? 1 : together;
        const int gate = static_cast<int>(v / vectors_of_gate);
        const Index j = v % vectors_of_gate * kWidth<Sum>;
        V == 1 ? add_alike<1>(k, gate, j) : add_alike<together>(k, gate, j);
        v += V;
      }
    }
  }

  // V vectors of it, from unit j of a gate on; row k is the first.
  template <int V>
  void add_alike(Index k, int gate, Index j) const {
    const Index from = Cell::input_slot(gate) * Hp_ + j;
    Sum* to = buffers_.dW_t + (*own_.symbol_rows[k] * Cell::gates + gate) * Hp_ + j;
    Vec<Sum> sum[V] = {};
    for (; k != kNone; k = own_.alike[k]) {
      for (int u = 0; u < V; ++u) sum[u] += read<Sum>(own_.da_rows[k] + from + u * kWidth<Sum>);
    }
    for (int u = 0; u < V; ++u, to += kWidth<Sum>) store(to, load(to) + sum[u]);
  }

  // dx = W_ih^T da
  void input_gradients(Part part) const {
    const Range rows = part.of(rows_);
    const auto& panels = buffers_.input;
    const auto write_dx = [&](Index r, Index j, const Sum* sum) {
      Storage* to = own_.dx_rows[rows.begin + r] + j;
      const Index n = panels.lanes(j);
      const auto dx = convert<Compute>(load(sum));
      // The terms of two directions are rounded separately: which comes first depends on how the steps are cut into
      // chunks.
      write_n<Compute>(to, gradients_.add_to_dx ? read_n<Compute>(to, n) + rounded<Storage>(dx) : dx, n);
    };
    multiply_rows(panels, panels.whole(), own_.da_rows + rows.begin, rows.end - rows.begin, write_dx, input_at_);
  }

  const BackwardPlan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const RecurrenceOf<T>& recurrence_;
  const Gradients<Storage>& gradients_;
  const BackwardBuffers<T>& buffers_;
  const SumBuffers<T>& own_;
  const Index Hp_;
  const Timeline<T> timeline_;
  Index input_at_[Cell::gates], hidden_at_[Cell::gates];
  Index rows_ = 0, blocks_ = 0;
  Index unit_parts_ = 1, counts_[kinds] = {};
};

// The sums of a chunk for all recurrences.
template <class Cell, class T>
void add_sums(const BackwardPlan<Cell, T>& plan, const Team& team, Index s0, Index s1) {
  const CallOf<T>& call = plan.call;
  if (call.recurrences >= team.size && !call.gradients[0].add_to_dx) {
    team.share(call.recurrences, [&](Index which, int member) {
      ChunkSums<Cell, T> sums(plan, member, which, s0, s1);
      sums.fill(kWhole);
      for (Index item = 0, items = sums.items(1); item < items; ++item) sums.run(item, plan.sums[member].right);
    });
    return;
  }
  for (Index which = 0; which < call.recurrences; ++which) {  // in turn: two directions add to the same rows of dx
    ChunkSums<Cell, T> sums(plan, 0, which, s0, s1);
    const Index parts = parts_of_each(team, 1);
    if (sums.fills) team.share(parts, [&](Index item, int) { sums.fill({item, parts}); });
    team.share(sums.items(parts), [&](Index item, int member) { sums.run(item, plan.sums[member].right); });
  }
}

// What remains after the last chunk: what was summed in scratch goes to the caller's arrays.
template <class Cell, class T>
class Finish {
  using Storage = typename T::Storage;
  using Compute = typename T::Compute;
  using Sum = typename T::Sum;

 public:
  Finish(const BackwardPlan<Cell, T>& plan, Index which, Part part)
      : plan_(plan), call_(plan.call), order_(plan.order), gradients_(call_.gradients[which]),
        buffers_(plan.buffers[which]), part_(part), Hp_(plan.Hp) {
    for (int gate = 0; gate < Cell::gates; ++gate) hidden_at_[gate] = Cell::hidden_slot(gate) * Hp_;
  }

  void run() const {
    if (gradients_.of_weights()) weights();
    // The final state of a sequence of length zero is its initial one: dh_0 is dh_n, dc_0 is dc_n.
    start(buffers_.initial, buffers_.dh, buffers_.dc, gradients_.dh_0, gradients_.dc_0);
    const StartSums<T>& reset = buffers_.reset;
    start(reset, reset.dh, reset.dc, gradients_.dh_reset, gradients_.dc_reset);
  }

 private:
  // For size: it is compiled for every cell and type, and touches each number but once.
  [[gnu::cold, gnu::noinline]] void weights() const {
    const Weights<Storage>& to = gradients_.weights;
    const Weights<Sum>& sums = gradients_.sums;
    const Index H = call_.H;
    const Range rows = part_.of(Cell::gates * H);
    for (Index g = rows.begin, n; g < rows.end; g += n) {
      const int gate = static_cast<int>(g / H), in = Cell::input_slot(gate), hidden = Cell::hidden_slot(gate);
      const Index j = g % H;
      n = min_of(min_of(kWidth<Sum>, H - j), rows.end - g);
      const Vec<Sum> sum = db(in, j, n);
      put(to.b_ih, sums.b_ih, g, sum, n);
      if (in == hidden) put(to.b_hh, sums.b_hh, g, sum, n);  // else it is a per-unit vector
      for (Index s = 0; plan_.by_symbol && s < call_.I; ++s) {
        const Sum* from = buffers_.dW_t + (s * Cell::gates + gate) * Hp_ + j;
        for (Index k = 0; k < n; ++k) put(to.W_ih, sums.W_ih, (g + k) * call_.I + s, from[k]);
      }
    }
    if (!__is_same(Storage, Sum) && !sums.W_hh) {
      if (!plan_.by_symbol) copy(to.W_ih, buffers_.dW_ih, Cell::gates * H * call_.I);
      copy(to.W_hh, buffers_.dW_hh, Cell::gates * H * call_.P);
      if (plan_.projected) copy(to.W_hr, buffers_.dW_hr, call_.P * H);
    }
    if constexpr (Cell::vectors > 0) {
      const Range units = part_.of(H);
      for (int k = 0; k < Cell::vectors; ++k) {
        Storage* vector = Cell::vector_of(to, H, k);
        Sum* added_to = Cell::vector_of(sums, H, k);
        for (Index j = units.begin, n; j < units.end; j += n) {
          n = min_of(kWidth<Sum>, units.end - j);
          put(vector, added_to, j, db(Cell::vector_slot(k), j, n), n);
        }
      }
    }
  }

  // The gradient of the biases of n units from unit j on.
  Vec<Sum> db(int slot, Index j, Index n) const {
    Vec<Sum> sum = load_n(buffers_.db + slot * Hp_ + j, n);
    for (Index b = 0; BackwardPlan<Cell, T>::da_is_rounded && b < call_.B; ++b)
      sum += load_n(buffers_.da_sums + (b * Cell::slots + slot) * Hp_ + j, n);
    return sum;
  }

  // Writes sums, or adds them; neither where both are null.
  static void put(Storage* to, Sum* added_to, Index k, Sum sum) {
    if (added_to) added_to[k] += sum;
    if (to) to[k] = static_cast<Storage>(sum);
  }
  static void put(Storage* to, Sum* added_to, Index k, Vec<Sum> sum, Index n) {
    if (added_to) store_n(added_to + k, load_n(added_to + k, n) + sum, n);
    if (to) write_n<Sum>(to + k, sum, n);
  }

  [[gnu::noinline]] void copy(Storage* to, const Sum* from, Index n) const {
    const Range mine = part_.of(n);
    for (Index k = mine.begin; k < mine.end; ++k) to[k] = static_cast<Storage>(from[k]);
  }

  // dh = W_hh^T (da summed over the steps that start from a state), and the direct part; dc.
  // dh_of_none and dc_of_none: of a sequence of length zero.
  void start(const StartSums<T>& sums, const Compute* dh_of_none, const Compute* dc_of_none, Storage* dh,
             Storage* dc) const {
    const Range rows = part_.of(call_.B);
    const auto& panels = buffers_.hidden;
    for (Index b = rows.begin; b < rows.end; ++b) {
      const bool none = order_.length[b] == 0;
      if (dh) {
        const Storage* da = rounded(sums, b * Cell::slots * Hp_);
        const Compute* direct = (none ? dh_of_none : sums.dh) + b * plan_.Pp;
        const auto write_dh = [&](Index, Index j, const Sum* sum) {
          const auto total = convert<Compute>(load(sum)) + load(direct + j);
          write_n<Compute>(dh + b * call_.P + j, total, panels.lanes(j));
        };
        multiply_rows(panels, panels.whole(), &da, 1, write_dh, hidden_at_);
      }
      for (Index j = 0; dc && j < call_.H; ++j) {
        dc[b * call_.H + j] = static_cast<Storage>((none ? dc_of_none : sums.dc)[b * Hp_ + j]);
      }
    }
  }

  // One row of da, as the product reads it.
  const Storage* rounded(const StartSums<T>& sums, Index at) const {
    if constexpr (__is_same(Storage, Compute)) {
      return sums.da + at;
    } else {
      for (Index j = at; j < at + Cell::slots * Hp_; ++j) sums.rounded[j] = static_cast<Storage>(sums.da[j]);
      return sums.rounded + at;
    }
  }

  const BackwardPlan<Cell, T>& plan_;
  const CallOf<T>& call_;
  const Order<T>& order_;
  const Gradients<Storage>& gradients_;
  const BackwardBuffers<T>& buffers_;
  const Part part_;
  const Index Hp_;
  Index hidden_at_[Cell::gates];
};

// All steps, segment by segment from the last; `recompute(s0, s1)` restores the gates of a segment.
template <class Cell, class T, class Recompute>
void run_segments(BackwardPlan<Cell, T>& plan, Index segment, const Team& team, Recompute recompute) {
  const CallOf<T>& call = plan.call;
  for (Index end = plan.order.steps(); end > 0;) {
    const Index begin = max_of(end - segment, 0);
    recompute(begin, end);
    for (Index s1 = end; s1 > begin;) {
      const Index s0 = max_of(s1 - plan.chunk, begin);
      walk_back(plan, team, s0, s1, [&](Index which) { return plan.saved_of(which, begin, end); });
      add_sums(plan, team, s0, s1);
      s1 = s0;
    }
    end = begin;
  }
  const Index parts = parts_of_each(team, call.recurrences);
  team.share(call.recurrences * parts,
             [&](Index item, int) { Finish<Cell, T>(plan, item / parts, {item % parts, parts}).run(); });
}

template <class Cell, class T>
void backward_of(const CallOf<T>& call, void* scratch, const Team& team) {
  Arena arena(scratch);
  BackwardPlan<Cell, T> plan(call, team.size, arena);
  plan.prepare(team);
  if (!call.segment) return run_segments(plan, call.T, team, [](Index, Index) {});
  Plan<Cell, T> forward_plan(call, team.size, arena);
  forward_plan.arrange();
  forward_plan.pack(team);
  const Forward<Cell, T> forward(forward_plan, team);
  run_segments(plan, plan.segment, team, [&](Index s0, Index s1) {
    forward.recompute(s0, s1, [&](Index which) { return plan.saved_of(which, s0, s1); });
  });
}
