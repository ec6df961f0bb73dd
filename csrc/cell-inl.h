// SPDX-License-Identifier: Apache-2.0
// What one step of any cell gives, for one vector of units.

template <class Real>
struct StepOut {
  Vec<Real> h, c;
};

template <class Real>
struct StepBack {
  Vec<Real> dh_direct;  // to h_{t-1} past the products: the GRU's dh * z
  Vec<Real> dc_prev;    // to c_{t-1}
};
