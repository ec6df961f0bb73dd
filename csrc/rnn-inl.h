// SPDX-License-Identifier: Apache-2.0
// The Elman network, equation (1) of docs/notation.md.  Nothing is saved for backward: h is the output.

template <class Real>
struct TanhActivation {
  static constexpr CellKind kind = CellKind::rnn_tanh;
  static Vec<Real> of(Vec<Real> a) { return tanh(a); }
  static Vec<Real> derivative(Vec<Real> h) { return d_tanh(h); }
};
template <class Real>
struct ReluActivation {
  static constexpr CellKind kind = CellKind::rnn_relu;
  static Vec<Real> of(Vec<Real> a) { return relu(a); }
  static Vec<Real> derivative(Vec<Real> h) { return d_relu(h); }
};

template <class Real, template <class> class Activation>
struct Rnn {
  using V = Vec<Real>;
  static constexpr CellKind kind = Activation<Real>::kind;
  static constexpr int gates = 1;
  static constexpr int saved = 0;
  static constexpr int slots = 1;
  static constexpr bool has_c = false;
  static constexpr bool reads_h = true;
  static constexpr bool reads_h_prev = false;
  static constexpr int input_slot(int) { return 0; }
  static constexpr int hidden_slot(int) { return 0; }
  static constexpr int vectors = 0;

  static StepOut<Real> forward(const V (&x_part)[gates], const V (&h_part)[gates], const V* /*vectors*/, V /*h_prev*/,
                               V /*c_prev*/, V (&)[4]) {
    return {Activation<Real>::of(x_part[0] + h_part[0]), V{}};
  }

  static StepBack<Real> backward(const V (&)[4], const V* /*vectors*/, V h, V /*h_prev*/, V /*c*/, V /*c_prev*/, V dh,
                                 V /*dc_next*/, V (&da)[slots]) {
    da[0] = dh * Activation<Real>::derivative(h);
    return {V{}, V{}};
  }
};
