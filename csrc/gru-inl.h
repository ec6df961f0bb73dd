// SPDX-License-Identifier: Apache-2.0
// The GRU, equations (10)-(13) of docs/notation.md: the reset gate acts after the product with W_hn.

template <class Real>
struct Gru {
  using V = Vec<Real>;
  static constexpr CellKind kind = CellKind::gru;
  static constexpr int gates = 3;  // blocks of the weights: r z n
  static constexpr int saved = 4;  // saved for backward: r z n and m = W_hn h + b_hn
  static constexpr int slots = 4;  // gradients before the activations: r z n and m
  static constexpr bool has_c = false;
  static constexpr bool reads_h = false;
  static constexpr bool reads_h_prev = true;
  static constexpr int input_slot(int gate) { return gate; }                   // r z n
  static constexpr int hidden_slot(int gate) { return gate == 2 ? 3 : gate; }  // r z m

  static constexpr int vectors = 1;                    // b_hn
  static constexpr int vector_slot(int) { return 3; }  // its gradient: dm
  template <class Element>
  static Element* vector_of(const Weights<Element>& weights, Index H, int) {
    return weights.b_hh ? weights.b_hh + 2 * H : nullptr;
  }

  // x_part holds both biases of r and z, and b_in alone of n.
  static StepOut<Real> forward(const V (&x_part)[gates], const V (&h_part)[gates], const V* b_hn, V h_prev,
                               V /*c_prev*/, V (&saved)[4]) {
    const V r = sigmoid(x_part[0] + h_part[0]);
    const V z = sigmoid(x_part[1] + h_part[1]);
    const V m = h_part[2] + *b_hn;
    const V n = tanh(fma(r, m, x_part[2]));
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = m;
    return {fma(z, h_prev - n, n), V{}};  // (1 - z) n + z h_{t-1}
  }

  static StepBack<Real> backward(const V (&saved)[4], const V* /*vectors*/, V /*h*/, V h_prev, V /*c*/, V /*c_prev*/,
                                 V dh, V /*dc_next*/, V (&da)[slots]) {
    const V r = saved[0], z = saved[1], n = saved[2], m = saved[3];
    // clang-format off
    da[2] = dh * (1 - z)      * d_tanh   (n);
    da[0] = da[2] * m         * d_sigmoid(r);
    da[1] = dh * (h_prev - n) * d_sigmoid(z);
    da[3] = da[2] * r;
    // clang-format on
    return {dh * z, V{}};
  }
};
