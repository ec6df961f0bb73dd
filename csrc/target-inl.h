// SPDX-License-Identifier: Apache-2.0
// All kernels of one instruction set; a target_*.cpp only puts a namespace around this file, and names the headers of
// its vectors (UNROLLED_SIMD), of its bfloat16 (UNROLLED_BFLOAT16) and of its int8 (UNROLLED_INT8).
#include "simd/vector.h"

#include UNROLLED_SIMD
#include UNROLLED_BFLOAT16
#include UNROLLED_INT8

#include "simd/lanes.h"
#include "simd/storage.h"
#include "simd/transpose.h"
#include "math-inl.h"
#include "gemm-inl.h"
#include "panels-inl.h"
#include "row-sums-inl.h"
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
#include "step-inl.h"
#include "int8-inl.h"
#include "elementwise-inl.h"

template <class Real>
using RnnTanh = Rnn<Real, TanhActivation>;
template <class Real>
using RnnRelu = Rnn<Real, ReluActivation>;

template <class Cell, class Visitor>
auto visit_cell(Visitor visit) {
  static_assert(Cell::gates == gate_count(Cell::kind) && Cell::saved == saved_slots(Cell::kind) &&
                Cell::has_c == has_cell_state(Cell::kind));
  return visit.template operator()<Cell>();
}

// Every cell, once: `visit` is a template over the cell's type.
template <class Real, class Visitor>
auto with_cell(CellKind kind, Visitor visit) {
  switch (kind) {
    case CellKind::rnn_tanh: return visit_cell<RnnTanh<Real>>(visit);
    case CellKind::rnn_relu: return visit_cell<RnnRelu<Real>>(visit);
    case CellKind::lstm: return visit_cell<Lstm<Real>>(visit);
    case CellKind::gru: return visit_cell<Gru<Real>>(visit);
    case CellKind::lstm_peephole: return visit_cell<Lstm<Real, true>>(visit);
  }
  __builtin_unreachable();  // the border refuses other numbers
}

template <class T>
std::size_t scratch_bytes(const CallOf<T>& call, int members) {
  return with_cell<typename T::Compute>(call.cell, [&]<class Cell>() {
    Arena arena(nullptr);
    if (call.gradients) {
      const BackwardPlan<Cell, T> plan(call, members, arena);
      if (call.segment) const Plan<Cell, T> forward(call, members, arena);
    } else {
      const Plan<Cell, T> plan(call, members, arena);
    }
    return arena.used();
  });
}

template <class T>
void forward(const CallOf<T>& call, void* scratch, const Team& team) {
  const FlushDenormals flush;
  with_cell<typename T::Compute>(call.cell, [&]<class Cell>() { forward_of<Cell, T>(call, scratch, team); });
}

template <class T>
StepBytes step_bytes(const CallOf<T>& call) {
  return with_cell<typename T::Compute>(call.cell, [&]<class Cell>() { return bytes_of<OneStep<Cell, T>>(call); });
}

template <class T>
void prepare_step(const CallOf<T>& call, void* weights, void* own, bool pack) {
  with_cell<typename T::Compute>(call.cell, [&]<class Cell>() { prepare<OneStep<Cell, T>>(call, weights, own, pack); });
}

inline StepBytes int8_step_bytes(const Call<float>& call) {
  return with_cell<float>(call.cell, [&]<class Cell>() { return bytes_of<Int8Step<Cell>>(call); });
}

inline void prepare_int8_step(const Call<float>& call, void* weights, void* own, bool pack) {
  with_cell<float>(call.cell, [&]<class Cell>() { prepare<Int8Step<Cell>>(call, weights, own, pack); });
}

template <class T>
void backward(const CallOf<T>& call, void* scratch, const Team& team) {
  const FlushDenormals flush;
  with_cell<typename T::Compute>(call.cell, [&]<class Cell>() { backward_of<Cell, T>(call, scratch, team); });
}

template <class T>
void activate(Activation activation, const typename T::Storage* in, typename T::Storage* out, Index n) {
  using Real = typename T::Compute;
  const FlushDenormals flush;
  for (Index k = 0; k < n; k += kWidth<Real>) {
    const Index left = min_of(n - k, kWidth<Real>);
    const Vec<Real> x = read_n<Real>(in + k, left);
    write_n<Real>(out + k, activation == Activation::tanh ? tanh(x) : sigmoid(x), left);
  }
}

template <class T>
constexpr Kernels<typename T::Storage, typename T::Compute> kKernels{
    scratch_bytes<T>,
    forward<T>,
    backward<T>,
    head_bytes<T>,
    head<T>,
    activate<T>,
    log_sums<typename T::Compute>,
    sum_of_squares<typename T::Compute>,
    drop<typename T::Storage, typename T::Storage>,
    drop<typename T::Compute, typename T::Storage>,
    adam<typename T::Compute>,
};
template <class T>
constexpr StepKernels<typename T::Storage, typename T::Compute> kSteps{
    step_bytes<T>, prepare_step<T>, step, linear_bytes<T>, pack_linear<T>, linear<T>,
};
using F32 = Types<float, float, float>;
using F64 = Types<double, double, double>;
using BF16 = Types<BFloat16, float, float>;

constexpr StepKernels<float> kInt8{int8_step_bytes,   prepare_int8_step, step,
                                   int8_linear_bytes, pack_int8_linear,  int8_linear};
