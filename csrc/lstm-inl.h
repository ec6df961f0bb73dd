// SPDX-License-Identifier: Apache-2.0
// The LSTM, equations (4)-(9) of docs/notation.md, and with peepholes (4p), (5p), (7p).

template <class Real, bool peepholes = false>
struct Lstm {
  using V = Vec<Real>;
  static constexpr CellKind kind = peepholes ? CellKind::lstm_peephole : CellKind::lstm;
  static constexpr int gates = 4;  // blocks of the weights: i f g o
  static constexpr int saved = 4;  // saved for backward: i f g o
  static constexpr int slots =
      peepholes ? 7 : 4;  // gradients before the activations: i f g o; gradients of p_i p_f p_o
  static constexpr bool has_c = true;
  static constexpr bool reads_h = false;                       // backward needs h_t
  static constexpr bool reads_h_prev = false;                  // the pointwise part needs h_{t-1}
  static constexpr int input_slot(int gate) { return gate; }   // which gradients multiply W_ih
  static constexpr int hidden_slot(int gate) { return gate; }  // ... and W_hh

  static constexpr int vectors = peepholes ? 3 : 0;  // per-unit vectors (cell-inl.h): p_i p_f p_o
  static constexpr int vector_slot(int k) { return gates + k; }
  template <class Element>
  static Element* vector_of(const Weights<Element>& weights, Index H, int k) {
    return weights.p ? weights.p + k * H : nullptr;
  }

  // What gate k sees of the cell state through its peephole, p_k c: nothing without peepholes.
  static V peep(V a, const V* p, int k, V c) {
    if constexpr (peepholes) return fma(p[k], c, a);
    return a;
  }

  // x_part = W_ih x + b_ih + b_hh and h_part = W_hh h_{t-1}, gate by gate.
  static StepOut<Real> forward(const V (&x_part)[gates], const V (&h_part)[gates], const V* p, V /*h_prev*/, V c_prev,
                               V (&saved)[4]) {
    // clang-format off: the gates stand below each other
    const V i = sigmoid(peep(x_part[0] + h_part[0], p, 0, c_prev));
    const V f = sigmoid(peep(x_part[1] + h_part[1], p, 1, c_prev));
    const V g = tanh   (     x_part[2] + h_part[2]);
    const V c = fma(f, c_prev, i * g);
    const V o = sigmoid(peep(x_part[3] + h_part[3], p, 2, c));
    // clang-format on
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o;
    return {o, c};
  }

  static StepBack<Real> backward(const V (&saved)[4], const V* p, V /*h*/, V /*h_prev*/, V c, V c_prev, V dh, V dc_next,
                                 V (&da)[slots]) {
    const V i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const V tanh_c = tanh(c);
    da[3] = dh * tanh_c * d_sigmoid(o);
    const V dc = peep(fma(dh * o, d_tanh(tanh_c), dc_next), p, 2, da[3]);
    // clang-format off
    da[0] = dc * g      * d_sigmoid(i);
    da[1] = dc * c_prev * d_sigmoid(f);
    da[2] = dc * i      * d_tanh   (g);
    // clang-format on
    if constexpr (peepholes) da[4] = da[0] * c_prev, da[5] = da[1] * c_prev, da[6] = da[3] * c;
    return {V{}, peep(peep(dc * f, p, 1, da[1]), p, 0, da[0])};
  }

  // h, or the input of the projection if there is one.
  static V output(V o, V c) { return o * tanh(c); }
};
