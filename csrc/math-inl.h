// SPDX-License-Identifier: Apache-2.0
// sigmoid and tanh on vectors, without branches.  Worst error 2.6 ULP each, over every float and over a dense sample of
// doubles (tests/core/test_activations.py; the measured table is in docs/kernels.md).  NaN in, NaN out; +-inf give the
// limits.  Divisions are true divisions: reciprocal estimates differ between makers of one instruction set, and the
// bits must not.

template <class Real>
struct ExpConstants;

// expm1(r) = r + r^2 q(r) on |r| <= ln(2)/2, q a minimax polynomial of relative error 2e-8 (float), 4e-17 (double).
// ln(2) is split so that n * ln2_high is exact.
template <>
struct ExpConstants<float> {
  static constexpr float log2_e = 1.44269504f, ln2_high = 0.693145751953125f, ln2_low = 1.428606820309417e-6f;
  static constexpr float shifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr std::int32_t mantissa_bits = 23, one = 0x3f800000;
  static constexpr float lowest = -87.33654f, highest = 88.02f;  // e^lowest is the smallest normal number
  static constexpr float tanh_saturates = 9.1f;
  static constexpr float q[] = {0.5f, 0.16666576666119928f, 0.04166655421298415f, 0.008363232883682618f,
                                0.0013926250831497612f};
};
template <>
struct ExpConstants<double> {
  static constexpr double log2_e = 1.4426950408889634, ln2_high = 6.93147180369123816490e-01,
                          ln2_low = 1.90821492927058770002e-10;
  static constexpr double shifter = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr std::int64_t mantissa_bits = 52, one = 0x3ff0000000000000;
  static constexpr double lowest = -708.3964, highest = 709.0;
  static constexpr double tanh_saturates = 19.1;
  static constexpr double q[] = {0.5,
                                 0.1666666666666666746,
                                 0.041666666666623820532,
                                 0.0083333333333300381973,
                                 0.0013888888917367080562,
                                 0.00019841269863171556026,
                                 0.000024801521057868205199,
                                 2.7557268276905696187e-6,
                                 2.7620201591031548792e-7,
                                 2.5100472505694996003e-8};
};

// e^x = power * (1 + fraction) for x in [lowest, highest], power = 2^n, fraction = expm1 of the rest.
template <class Real>
struct ExpParts {
  Vec<Real> power, fraction;
};

template <class Real>
inline ExpParts<Real> exp_parts(Vec<Real> x) {
  using C = ExpConstants<Real>;
  const Vec<Real> shifted = fma(x, broadcast(C::log2_e), broadcast(C::shifter));
  const Vec<Real> n = shifted - C::shifter;
  Vec<Real> r = fma(n, broadcast(-C::ln2_high), x);
  r = fma(n, broadcast(-C::ln2_low), r);
  constexpr int degree = sizeof(C::q) / sizeof(Real) - 1;
  Vec<Real> q = broadcast(C::q[degree]);
#pragma GCC unroll 16
  for (int k = degree - 1; k >= 0; --k) q = fma(q, r, broadcast(C::q[k]));
  return {(Vec<Real>)(((Bits<Real>)shifted << C::mantissa_bits) + C::one), fma(r * r, q, r)};
}

template <class Real>
inline Vec<Real> sigmoid_of(Vec<Real> x) {  // 1 / (1 + e^-x)
  using C = ExpConstants<Real>;
  const Vec<Real> z = at_least(at_most(-x, broadcast(C::highest)), broadcast(C::lowest));
  const auto [power, fraction] = exp_parts<Real>(z);
  return Real{1} / (Real{1} + fma(power, fraction, power));
}

template <class Real>
inline Vec<Real> tanh_of(Vec<Real> x) {  // expm1(2|x|) / (expm1(2|x|) + 2), with the sign of x
  using C = ExpConstants<Real>;
  const Bits<Real> sign = (Bits<Real>)broadcast(Real(-0.0)) & (Bits<Real>)x;
  const Vec<Real> magnitude = (Vec<Real>)((Bits<Real>)x ^ sign);
  const Vec<Real> z = at_most(magnitude, broadcast(C::tanh_saturates));
  const auto [power, fraction] = exp_parts<Real>(z + z);
  const Vec<Real> e = fma(power, fraction, power - Real{1});
  return (Vec<Real>)((Bits<Real>)(e / (e + Real{2})) | sign);
}

inline Vec<float> sigmoid(Vec<float> x) { return sigmoid_of<float>(x); }
inline Vec<double> sigmoid(Vec<double> x) { return sigmoid_of<double>(x); }
inline Vec<float> tanh(Vec<float> x) { return tanh_of<float>(x); }
inline Vec<double> tanh(Vec<double> x) { return tanh_of<double>(x); }

// Derivatives, from the function's output.
template <class V>
inline V d_sigmoid(V y) {
  return y - y * y;
}
template <class V>
inline V d_tanh(V y) {
  return 1 - y * y;
}
template <class V>
inline V relu(V x) {
  return x <= 0 ? V{} : x;  // NaN passes
}
template <class V>
inline V d_relu(V y) {
  return y <= 0 ? V{} : V{} + 1;
}
