// SPDX-License-Identifier: Apache-2.0
// Everything of one instruction set; a target_*.cpp is nothing but a namespace around this.
#include "simd/vector.h"

#include UNROLLED_SIMD

#include "math-inl.h"
#include "gemm-inl.h"
#include "cell-inl.h"
#include "rnn-inl.h"
#include "lstm-inl.h"
#include "gru-inl.h"
#include "arena-inl.h"
#include "division-inl.h"
#include "timeline-inl.h"
#include "plan-inl.h"
#include "forward-inl.h"
#include "backward-plan-inl.h"
#include "backward-inl.h"
#include "gradient-inl.h"
#include "head-inl.h"

template <class Real>
using RnnTanh = Rnn<Real, TanhActivation>;
template <class Real>
using RnnRelu = Rnn<Real, ReluActivation>;

// The one place that chooses a cell: `visit` is a template over the cell's type.
template <class Real, class Visitor>
auto with_cell(CellKind kind, Visitor visit) {
  switch (kind) {
    case CellKind::rnn_tanh: return visit.template operator()<RnnTanh<Real>>();
    case CellKind::rnn_relu: return visit.template operator()<RnnRelu<Real>>();
    case CellKind::gru: return visit.template operator()<Gru<Real>>();
    default: return visit.template operator()<Lstm<Real>>();
  }
}

template <class Real>
std::size_t scratch_bytes(const Call<Real>& call, int threads) {
  return with_cell<Real>(call.cell, [&]<class Cell>() {
    Arena arena(nullptr);
    if (call.gradients) {
      const BackwardPlan<Cell, Real> plan(call, threads, arena, false);
      if (call.segment) const Plan<Cell, Real> forward(call, threads, arena, false);
    } else {
      const Plan<Cell, Real> plan(call, threads, arena, false);
    }
    return arena.used();
  });
}

template <class Real>
void forward(const Call<Real>& call, void* scratch, const Team& team, bool packed) {
  const FlushDenormals flush;
  with_cell<Real>(call.cell, [&]<class Cell>() { forward_of<Cell>(call, scratch, team, packed); });
}

template <class Real>
void backward(const Call<Real>& call, void* scratch, const Team& team) {
  const FlushDenormals flush;
  with_cell<Real>(call.cell, [&]<class Cell>() { backward_of<Cell>(call, scratch, team); });
}

template <class Real>
void activate(Activation activation, const Real* in, Real* out, Index n) {
  const FlushDenormals flush;
  for (Index k = 0; k < n; k += kWidth<Real>) {
    const Index left = n - k < kWidth<Real> ? n - k : kWidth<Real>;
    const Vec<Real> x = load_n(in + k, left);
    store_n(out + k, activation == Activation::tanh ? tanh(x) : sigmoid(x), left);
  }
}

template <class Real>
constexpr Kernels<Real> kKernels{
    scratch_bytes<Real>, forward<Real>,    backward<Real>, linear_bytes<Real>,
    linear<Real>,        head_bytes<Real>, head<Real>,     activate<Real>,
};
