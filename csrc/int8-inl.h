// SPDX-License-Identifier: Apache-2.0
// Steps with weights in int8: every product of a row and a matrix is a sum of whole numbers.
//
//   q_x = round(x * 127 / max |x|)        each row of numbers, at each step: one scale a row
//   W x = (sum_k q_W q_x) * s_W * s_x     s_W: one scale for each row of W
//
// The sums are exact, so they do not depend on their order, and no instruction set differs from another in a bit of
// them.  States, biases, activations and what symbols look up are float.  A NaN or an infinity stays in its row.

// Rows of numbers as the products read them.
class QuantisedRows {
  using Bytes [[gnu::vector_size(kVectorBytes / 4)]] = std::int8_t;

 public:
  const std::int8_t** rows;  // (B)
  float* scale;              // (B)

  QuantisedRows(Index B, Index K, Arena& own) : B_(B), K_(K), stride_(padded<std::int8_t>(K)) {
    own.take(B, rows);
    own.take(B, scale);
    own.take(B * stride_, q_);
  }
  void arrange() const {
    for (Index b = 0; b < B_; ++b) rows[b] = q_ + b * stride_;
  }

  void read(Index b, const float* x) const {
    constexpr Index width = kWidth<float>;
    Vec<float> most{}, poison{};  // poison is NaN where a number is NaN or infinite
    for (Index k = 0; k < K_; k += width) {
      const Vec<float> v = load_n(x + k, min_of(K_ - k, width));
      most = at_least((Vec<float>)((Bits<float>)v & 0x7fffffff), most);
      poison += v * 0.0f;
    }
    float largest = 0, nothing = 0;
    for (Index lane = 0; lane < width; ++lane) {
      largest = most[lane] > largest ? most[lane] : largest;
      nothing += poison[lane];
    }
    constexpr float smallest = 1e-30f;  // what is less counts as zero: 127 / max might overflow
    const float inverse = largest > smallest ? 127 / largest : 0;
    scale[b] = largest / 127 + nothing;
    for (Index k = 0; k < K_; k += width) {
      const Vec<float> v = load_n(x + k, min_of(K_ - k, width));
      // Adding the shifter rounds to the nearest whole number, kept in the low bits.
      const Bits<float> nearest = (Bits<float>)(v * inverse + ExpConstants<float>::shifter);
      const Bytes q = __builtin_convertvector(nearest ^ kInt8Offset, Bytes);
      __builtin_memcpy(q_ + b * stride_ + k, &q, sizeof q);
    }
  }

 private:
  Index B_, K_, stride_;
  std::int8_t* q_;  // (B, stride)
};

// A matrix, packed, with what turns its sums into numbers: of `gates` blocks of `units` rows.
template <int gates>
struct Int8Panels {
  using Sum = std::int32_t;
  Panels<std::int8_t, Sum, gates> panels;
  float* scale;  // (gates, units rounded up)
  Sum* shift;    // (gates, units rounded up): what kInt8Offset adds to each sum

  Int8Panels(Index units, Index K, Arena& kept) : panels(units, K) {
    kept.take(panels.size(), panels.data);
    kept.take(gates * width(), scale);
    kept.take(gates * width(), shift);
  }
  Index width() const { return padded<float>(panels.columns); }

  void pack(const Int8Matrix& W) const {
    pack_transposed(panels, W.q, kWhole);
    for (Index row = 0; row < gates * width(); ++row) {
      const Index gate = row / width(), unit = row % width(), from = gate * panels.columns + unit;
      const bool there = unit < panels.columns;
      scale[row] = there ? W.scale[from] : 0;
      shift[row] = 0;
      for (Index k = 0; there && k < panels.K; ++k) shift[row] += kInt8Offset * W.q[from * panels.K + k];
    }
  }

  // The numbers of one vector of sums, of units from j on of a gate, times a row of scale s.
  Vec<float> numbers(const Sum* sums, int gate, Index j, float s) const {
    const Index at = gate * width() + j;
    return convert<float>(load(sums + gate * kWidth<Sum>) - load(shift + at)) * (load(scale + at) * s);
  }
};

template <class Cell>
class Int8Step {
  using V = Vec<float>;
  using Sum = std::int32_t;

 public:
  Int8Step(const Call<float>& call, Arena& own, Arena& kept)
      : call_(call), Hp_(padded<float>(call.H)), by_symbol_(call.recurrence->symbols.data),
        projected_(call.recurrence->weights.W_hr), x_(by_symbol_ ? 0 : call.B, call.I, own), h_(call.B, call.P, own),
        m_rows_(projected_ ? call.B : 0, call.H, own), input_(call.H, by_symbol_ ? 0 : call.I, kept),
        hidden_(call.H, call.P, kept), projection_(projected_ ? call.P : 0, call.H, kept) {
    kept.take(Cell::gates * Hp_, x_bias_);
    kept.take(Cell::vectors * Hp_, vectors_);
    kept.take(by_symbol_ ? call.I * Cell::gates * Hp_ : 0, table_);
    own.take(by_symbol_ ? 0 : call.B * Cell::gates * Hp_, x_part_);
    own.take(projected_ ? call.B * Hp_ : 0, m_);
  }

  void arrange() const { x_.arrange(), h_.arrange(), m_rows_.arrange(); }

  void pack() const {
    const Recurrence<float>& r = *call_.recurrence;
    pack_x_bias<Cell>(r.weights, call_.H, Hp_, x_bias_);
    pack_vectors<Cell>(r.weights, call_.H, Hp_, vectors_);
    hidden_.pack(r.int8.W_hh);
    if (projected_) projection_.pack(r.int8.W_hr);
    if (!by_symbol_) input_.pack(r.int8.W_ih);
    for (Index symbol = 0; by_symbol_ && symbol < call_.I; ++symbol) {
      symbol_column<Cell>(r.weights.W_ih, call_.H, call_.I, symbol, x_bias_, Hp_, {0, Hp_},
                          table_ + symbol * Cell::gates * Hp_);
    }
  }

  void run() const {
    const Recurrence<float>& r = *call_.recurrence;
    if (!by_symbol_) input_products(r.x);
    for (Index b = 0; b < call_.B; ++b) h_.read(b, r.h_0 + b * call_.P);
    const auto& hidden = hidden_.panels;
    multiply_rows(hidden, hidden.whole(), h_.rows, call_.B,
                  [&](Index b, Index j, const Sum* sums) { cell(r, b, j, sums); });
    if (projected_) project(r);
  }

 private:
  void input_products(const Rows<const float>& x) const {
    for (Index b = 0; b < call_.B; ++b) x_.read(b, x.data + b * x.batch_stride);
    const auto& input = input_.panels;
    multiply_rows(input, input.whole(), x_.rows, call_.B, [&](Index b, Index j, const Sum* sums) {
      for (int gate = 0; gate < Cell::gates; ++gate) {
        store(x_part_ + (b * Cell::gates + gate) * Hp_ + j,
              input_.numbers(sums, gate, j, x_.scale[b]) + load(x_bias_ + gate * Hp_ + j));
      }
    });
  }

  // One vector of units of row b, from unit j on.
  [[gnu::always_inline]] void cell(const Recurrence<float>& r, Index b, Index j, const Sum* sums) const {
    const float* x_row = by_symbol_ ? table_ + r.symbols.data[b * r.symbols.batch_stride] * Cell::gates * Hp_
                                    : x_part_ + b * Cell::gates * Hp_;
    V x_part[Cell::gates], h_part[Cell::gates], saved[4];
    for (int gate = 0; gate < Cell::gates; ++gate) {
      x_part[gate] = load(x_row + gate * Hp_ + j);
      h_part[gate] = hidden_.numbers(sums, gate, j, h_.scale[b]);
    }
    const Index n = hidden_.panels.lanes(j);
    const UnitVectors<Cell, float> vectors(vectors_ + j, Hp_);
    const V h_prev = Cell::reads_h_prev ? load_n(r.h_0 + b * call_.P + j, n) : V{};
    const V c_prev = Cell::has_c ? load_n(r.c_0 + b * call_.H + j, n) : V{};
    const StepOut<float> out = Cell::forward(x_part, h_part, vectors.of, h_prev, c_prev, saved);
    const V h = output_of<Cell>(out.h_gate, out.c);
    if constexpr (Cell::has_c) store_n(r.c_n + b * call_.H + j, out.c, n);
    if (projected_) {
      store(m_ + b * Hp_ + j, h);
    } else {
      give(r, b, j, h, n);
    }
  }

  // h_t = W_hr m_t
  void project(const Recurrence<float>& r) const {
    for (Index b = 0; b < call_.B; ++b) m_rows_.read(b, m_ + b * Hp_);
    const auto& panels = projection_.panels;
    multiply_rows(panels, panels.whole(), m_rows_.rows, call_.B, [&](Index b, Index j, const Sum* sums) {
      give(r, b, j, projection_.numbers(sums, 0, j, m_rows_.scale[b]), panels.lanes(j));
    });
  }

  void give(const Recurrence<float>& r, Index b, Index j, V h, Index n) const {
    store_n(r.h_n + b * call_.P + j, h, n);
    store_n(r.y.data + b * r.y.batch_stride + j, h, n);
  }

  const Call<float>& call_;
  Index Hp_;
  bool by_symbol_, projected_;
  QuantisedRows x_, h_, m_rows_;
  Int8Panels<Cell::gates> input_, hidden_;
  Int8Panels<1> projection_;
  float *x_bias_, *vectors_, *table_;  // (G, Hp), (vectors, Hp), (I, G, Hp): the input product of every symbol
  float *x_part_, *m_;                 // (B, G, Hp), (B, Hp): o * tanh(c) before the projection
};

// The head, y = W x + b.

inline StepBytes int8_linear_bytes(const Linear<float>& head) {
  Arena weights(nullptr), own(nullptr);
  const Int8Panels<1> panels(head.V, head.H, weights);
  const QuantisedRows rows(head.B, head.H, own);
  return {weights.used(), own.used()};
}

inline void pack_int8_linear(const Linear<float>& head, void* weights) {
  Arena kept(weights);
  Int8Panels<1>(head.V, head.H, kept).pack(head.int8);
}

inline void int8_linear(const Linear<float>& head, const void* weights, void* own) {
  const FlushDenormals flush;
  Arena kept(const_cast<void*>(weights)), mine(own);
  const Int8Panels<1> W(head.V, head.H, kept);
  const QuantisedRows rows(head.B, head.H, mine);
  rows.arrange();
  for (Index b = 0; b < head.B; ++b) rows.read(b, head.x + b * head.H);
  multiply_rows(W.panels, W.panels.whole(), rows.rows, head.B, [&](Index b, Index v, const std::int32_t* sums) {
    const Index n = W.panels.lanes(v);
    store_n(head.y + b * head.V + v, W.numbers(sums, 0, v, rows.scale[b]) + load_n(head.b + v, n), n);
  });
}
