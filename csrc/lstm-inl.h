// SPDX-License-Identifier: Apache-2.0
// The LSTM, equations (4)-(9) of docs/notation.md.

template <class Real>
struct Lstm {
  using V = Vec<Real>;
  static constexpr CellKind kind = CellKind::lstm;
  static constexpr int gates = 4;  // blocks of the weights: i f g o
  static constexpr int saved = 4;  // saved for backward: i f g o
  static constexpr int slots = 4;  // gradients before the activations: i f g o
  static constexpr bool has_c = true;
  static constexpr bool reads_h = false;                       // backward needs h_t
  static constexpr bool reads_h_prev = false;                  // the pointwise part needs h_{t-1}
  static constexpr int input_slot(int gate) { return gate; }   // which gradients multiply W_ih
  static constexpr int hidden_slot(int gate) { return gate; }  // ... and W_hh
  static constexpr int vectors = 0;                            // per-unit vectors (cell-inl.h)

  // x_part = W_ih x + b_ih + b_hh and h_part = W_hh h_{t-1}, gate by gate.
  static StepOut<Real> forward(const V (&x_part)[gates], const V (&h_part)[gates], const V* /*vectors*/, V /*h_prev*/,
                               V c_prev, V (&saved)[4]) {
    // clang-format off: the gates stand below each other
    const V i = sigmoid(x_part[0] + h_part[0]);
    const V f = sigmoid(x_part[1] + h_part[1]);
    const V g = tanh   (x_part[2] + h_part[2]);
    const V o = sigmoid(x_part[3] + h_part[3]);
    // clang-format on
    const V c = fma(f, c_prev, i * g);
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o;
    return {o * tanh(c), c};
  }

  static StepBack<Real> backward(const V (&saved)[4], const V* /*vectors*/, V /*h*/, V /*h_prev*/, V c, V c_prev, V dh,
                                 V dc_next, V (&da)[slots]) {
    const V i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const V tanh_c = tanh(c);
    const V dc = fma(dh * o, d_tanh(tanh_c), dc_next);
    // clang-format off
    da[0] = dc * g      * d_sigmoid(i);
    da[1] = dc * c_prev * d_sigmoid(f);
    da[2] = dc * i      * d_tanh   (g);
    da[3] = dh * tanh_c * d_sigmoid(o);
    // clang-format on
    return {V{}, dc * f};
  }

  // What the projection multiplies: the cell's own output, before W_hr.
  static V output(const V (&saved)[4], V c) { return saved[3] * tanh(c); }
};
