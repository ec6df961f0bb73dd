// SPDX-License-Identifier: Apache-2.0
// What all cells share.  A cell is a pure function of vectors of units: the passes through time (forward-inl.h,
// backward-inl.h) load, store and form the products W x and W h.  It has
//   kind, gates, saved, has_c       as in kernels.h;
//   slots                           vectors of gradients that backward gives for each vector of units, da among them;
//   input_slot, hidden_slot(gate)   which of these multiply W_ih and W_hh;
//   reads_h, reads_h_prev           what else its pointwise part and its backward read;
//   forward, backward, output       the equations.
//
// Besides the products, a cell may read per-unit vectors, such as the GRU's b_hn or an LSTM's peepholes.  It declares
//   vectors                   how many;
//   vector_of(weights, H, k)  the address of vector k (H) in Weights, of the weights or their gradients; null: none;
//   vector_slot(k)            the slot of da whose sum over rows and steps is its gradient.
// A slot that multiplies no weight is only summed.  Where the two slots of a gate differ, its b_hh
// cannot be added to b_ih in x_part: it is a per-unit vector.

// The result of one step, for one vector of units: h, or for a cell with a c, what Cell::output makes h from.
template <class Real>
struct StepOut {
  Vec<Real> h_gate, c;
};
template <class Cell, class V>
inline V output_of(V h_gate, V c) {
  if constexpr (Cell::has_c) return Cell::output(h_gate, c);
  return h_gate;
}

template <class Real>
struct StepBack {
  Vec<Real> dh_direct;  // to h_{t-1}, not through a product: the GRU's dh * z
  Vec<Real> dc_prev;    // to c_{t-1}
};

// The per-unit vectors of a cell in rows of Hp.
template <class Cell, class Storage, class Real>
inline void pack_vectors(const Weights<const Storage>& weights, Index H, Index Hp, Real* to) {
  if constexpr (Cell::vectors > 0) {
    for (int k = 0; k < Cell::vectors; ++k) pad_rows(to + k * Hp, Cell::vector_of(weights, H, k), H, Hp, {0, 1});
  }
}

// One vector of units of each per-unit vector.
template <class Cell, class Real>
struct UnitVectors {
  Vec<Real> of[Cell::vectors > 0 ? Cell::vectors : 1];

  UnitVectors(const Real* packed, Index Hp) {
    for (int k = 0; k < Cell::vectors; ++k) of[k] = load(packed + k * Hp);
  }
};
