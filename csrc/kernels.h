// SPDX-License-Identifier: Apache-2.0
// The contract of the core: what a layer call holds, which shapes, who owns what.  Plain structs and pointers.
//
// Letters (docs/notation.md): T time, B batch, I input size, H hidden, P projection (P == H when there is none),
// G gates.  Gate order is torch's: LSTM i f g o, GRU r z n.  One call runs one layer: independent recurrences of one
// shape, each with its own weights and rows - the two directions of a layer, or S models trained at once.
//
// Three types (struct Types): Storage lies in the caller's arrays, Compute is the type of the arithmetic and of the
// cell state, and Sum is the type of the sums of products.
//
// Hp is H rounded up to 64 bytes of Compute: the width of a unit row inside the buffers that forward saves for
// backward. The units past H hold anything; no lane mixes with another, so they never reach a caller's array.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bfloat16.h"
#include "division.h"
#include "team.h"

namespace unrolled {

template <class Storage_, class Compute_, class Sum_>
struct Types {
  using Storage = Storage_;
  using Compute = Compute_;
  using Sum = Sum_;
  static_assert(sizeof(Compute) == sizeof(Sum), "a vector of sums has a lane for each lane that is computed with");
};

// What numbers of a type are computed with.
template <class Storage>
struct ComputeOf {
  using type = Storage;
};
template <>
struct ComputeOf<BFloat16> {
  using type = float;
};
template <class Storage>
using Computed = typename ComputeOf<Storage>::type;

enum class CellKind : int { rnn_tanh, rnn_relu, lstm, gru, lstm_peephole };

// What other code must know about a cell; `with_cell` (target-inl.h) compares it with the cell's own constants.
struct CellSizes {
  int gates;  // blocks of the weights
  int saved;  // slots of H units that forward saves per (t, b) in `gates`: LSTM i f g o; GRU r z n and W_hn h + b_hn
  bool has_c;
};
constexpr CellSizes kCells[] = {{1, 0, false}, {1, 0, false}, {4, 4, true}, {3, 4, false}, {4, 4, true}};  // by kind
constexpr int kCellCount = sizeof(kCells) / sizeof(kCells[0]);

constexpr const CellSizes& sizes_of(CellKind cell) { return kCells[static_cast<int>(cell)]; }
constexpr bool has_cell_state(CellKind cell) { return sizes_of(cell).has_c; }
constexpr int gate_count(CellKind cell) { return sizes_of(cell).gates; }
constexpr int saved_slots(CellKind cell) { return sizes_of(cell).saved; }

// An array with one row for each (t, b): row (t, b) starts at data + place(t) * time_stride + b * batch_stride.
// place(t) is t, or for a packed call the sum of batch_sizes before t (then time_stride == batch_stride).
template <class Element>
struct Rows {
  Element* data = nullptr;
  Index time_stride = 0;
  Index batch_stride = 0;
};

// The weights of one recurrence, or their gradients.  null: the cell has no such weight.
template <class Real>
struct Weights {
  Real* W_ih;  // (G*H, I)
  Real* W_hh;  // (G*H, P)
  Real* b_ih;  // (G*H), null: zeros
  Real* b_hh;  // (G*H), null: zeros
  Real* W_hr;  // (P, H), null: no projection
  Real* p;     // (3*H), the peepholes p_i p_f p_o, null: zeros
};

// A matrix in int8: row r is q[r] times scale[r], exactly (unrolled/core/int8.py).
struct Int8Matrix {
  const std::int8_t* q = nullptr;  // (rows, K), -127 to 127
  const float* scale = nullptr;    // (rows)
};

// The matrices of a recurrence in int8, in place of those in float.
struct Int8Matrices {
  Int8Matrix W_ih, W_hh, W_hr;  // W_ih is not read where symbols are: their columns stay float
};

// The longest sum of products of int8 that an int32 holds.
constexpr Index kInt8Sum = Index{1} << 16;

// An axis of a weight: a letter, or a multiple of one, as `3 * Axis::H`.
struct Axis {
  enum Letter { none, GH, I, P, H };
  Letter letter = none;
  int times = 1;

  constexpr Axis() = default;
  constexpr Axis(Letter letter, int times = 1) : letter(letter), times(times) {}
};
constexpr Axis operator*(int times, Axis::Letter letter) { return {letter, times}; }

template <class Real>
struct WeightField {
  const char* name;
  Real* Weights<Real>::* member;
  Axis shape[2];
  bool required = false;
};

// Each weight once, in the order of `unrolled.notation.WEIGHTS`: whatever reads, checks or names weights outside the
// kernels loops over this table.
template <class Real>
constexpr WeightField<Real> kWeightFields[] = {
    {"W_ih", &Weights<Real>::W_ih, {Axis::GH, Axis::I}, true},
    {"W_hh", &Weights<Real>::W_hh, {Axis::GH, Axis::P}, true},
    {"b_ih", &Weights<Real>::b_ih, {Axis::GH}},
    {"b_hh", &Weights<Real>::b_hh, {Axis::GH}},
    {"W_hr", &Weights<Real>::W_hr, {Axis::P, Axis::H}},
    {"p", &Weights<Real>::p, {3 * Axis::H}},
};

// One recurrence.  Weights are torch's, C-contiguous.  Nothing may alias an output, but where T is
// 1 the states may stay in place (h_n is h_0, c_n is c_0): they are read before they are written.
template <class Real, class Compute = Computed<Real>>
struct Recurrence {
  Weights<const Real> weights;
  Rows<const Real> x;         // (T, B, I); not read when there are symbols
  Rows<const Index> symbols;  // (T, B), each in [0, I): the one-hot input, by index
  const Real* h_0;            // (B, P), null: zeros
  const Compute* c_0;         // (B, H), null: zeros
  const Real* h_reset;        // (B, P), null: zeros.  The state that a reset returns to
  const Compute* c_reset;     // (B, H), null: zeros
  Rows<Real> y;               // out (T, B, P); in for backward.  Rows past a sequence's length are not touched
  Real* h_n;                  // out (B, P)
  Compute* c_n;               // out (B, H), LSTM only
  Rows<Real> gates;           // saved for backward: (T, B, saved_slots, Hp), data null at inference and with segments
  Rows<Compute> cells;        // saved for backward: (T, B, Hp), or with segments (edges, B, Hp); LSTM only
  bool reverse;               // read each sequence from its end to its start
  Int8Matrices int8;          // read by the steps of int8 alone, which read no other W_ih of vectors, W_hh and W_hr
};

// What backward reads and writes for one recurrence.  Weight gradients are overwritten, or added to `sums`; null: not
// wanted.
template <class Real>
struct Gradients {
  Rows<const Real> dy;           // (T, B, P), data null: zeros
  const Real* dh_n;              // (B, P), null: zeros
  const Real* dc_n;              // (B, H), null: zeros
  Rows<Real> dx;                 // (T, B, I)
  bool add_to_dx;                // add instead of overwrite: the second direction of a layer
  Real* dh_0;                    // (B, P)
  Real* dc_0;                    // (B, H)
  Real* dh_reset;                // (B, P), summed over the resets of a row
  Real* dc_reset;                // (B, H)
  Weights<Real> weights;         // all together or none: where W_hh is null, none is wanted; W_ih may be empty
  Weights<Computed<Real>> sums;  // in place of these, and added to; all or none

  [[gnu::always_inline]] bool of_weights() const { return weights.W_hh || sums.W_hh; }
};

template <class Real, class Compute = Computed<Real>>
struct Call {
  CellKind cell;
  Index T, B, I, H, P;
  Index recurrences;
  const Recurrence<Real, Compute>* recurrence;  // [recurrences]
  const Gradients<Real>* gradients;             // [recurrences], null: forward
  const Index* lengths;                         // (B), each in [0, T]; null: all T
  const Index* batch_sizes;                     // (T), not increasing: a packed call; null: not packed
  Rows<const std::uint8_t> reset;  // (T, B): the state becomes (h_reset, c_reset) before this step; data null: never
  bool save;                       // forward fills gates and cells; backward reads them
  // > 0: forward saves c at the edges of segments of this many steps (rounded up to whole blocks of the sums), backward
  // recomputes the gates of one segment after another.  Segments and edges are counted from the last step: row (e, b)
  // of cells is c_{t-1} of the first step of segment e; the segment of the first step has none.
  Index segment = 0;
  bool reused = false;  // the packed weights will serve many calls: pack whatever speeds a call up
  Division division = Division::rows;
};

// The head of a model: y = W x + b for B rows.
template <class Real>
struct Linear {
  const Real* W;      // (V, H)
  const Real* b;      // (V)
  const Real* x;      // (B, H)
  Computed<Real>* y;  // (B, V)
  Index B, H, V;
  Int8Matrix int8;  // in place of W, of the steps of int8
};

// One pass of the head in training, over N rows.
template <class Real>
struct HeadPass {
  const Real* W;         // (V, H)
  const Real* b;         // (V)
  const Real* x;         // (N, H)
  const Index* targets;  // (N), each below V; negative: nothing to predict
  Real* dx;              // (N, H), out
  Computed<Real>* dW;    // (V, H), added to
  Computed<Real>* db;    // (V), added to
  double* nats;          // sum over rows of -log softmax(W x + b)[target], out
  Index N, H, V;
};

// Steps in a block of the sums over rows: the weight gradients of a block are summed in one go, blocks are counted from
// the last step (backward-inl.h).
[[gnu::always_inline]] constexpr Index block_steps(Index B) {
  const Index rows = B < 8 ? 64 : 256;
  return B >= rows ? 1 : rows / (B > 0 ? B : 1);
}

// Steps rounded up to whole blocks: segments of that many do not change the sums over rows.
[[gnu::always_inline]] constexpr Index whole_blocks(Index steps, Index B) {
  const Index block = block_steps(B);
  return (steps + block - 1) / block * block;
}

template <class Real>
constexpr Index padded(Index width) {
  constexpr Index line = 64 / sizeof(Real);
  return (width + line - 1) / line * line;
}

enum class Activation : int { sigmoid, tanh };

// Dropout of rows of H numbers: y = scale x where the number drawn for a place is `least` or more, else 0.  It depends
// on the seed and the place alone: the place of element j of row n is starts[n] + j, or n H + j without starts.
template <class From, class To>
struct Drop {
  const From* x;        // (N, H)
  To* y;                // (N, H), out, or added to
  const Index* starts;  // (N) or null
  Index H, seed;
  std::uint32_t least;
  Computed<From> scale;
  bool add;
};

// A step of AdamW on P numbers, with the gradient times `scale`; the gradient is left zero.
//   m = beta1 m + (1 - beta1) g    v = beta2 v + (1 - beta2) g^2    w = keep w - rate m / (sqrt(v) / root + eps)
template <class Real>
struct AdamStep {
  Real *values, *gradients, *exp_avg, *exp_avg_sq;  // (P)
  Index P;
  Real scale, beta1, beta2, eps;
  Real keep;        // 1 - learning rate * weight decay
  Real rate, root;  // learning rate / (1 - beta1^t), sqrt(1 - beta2^t)
};

// The bytes of a step: its packed weights, which any number of steps may read at once, and its own memory.
struct StepBytes {
  std::size_t weights, own;
};

// Single steps, on one thread, with the weights packed once.  Memory is the caller's, 64-byte aligned.
template <class Real, class Compute = Computed<Real>>
struct StepKernels {
  // A call of one step that is run again and again: `prepare` lays it out in `own`, and if `pack` says so, packs the
  // weights; step runs it.  The call stays where it is; its arrays may change in between.
  StepBytes (*bytes)(const Call<Real, Compute>&);
  void (*prepare)(const Call<Real, Compute>&, void* weights, void* own, bool pack);
  void (*step)(const void* own);
  StepBytes (*linear_bytes)(const Linear<Real>&);
  void (*pack_linear)(const Linear<Real>&, void* weights);
  void (*linear)(const Linear<Real>&, const void* weights, void* own);
};

// The kernels of one instruction set for one scalar type.  `scratch` is the caller's, 64-byte aligned, of at least
// scratch_bytes(call, members) for the team's size.  Results are bit-equal for any team and any division.
template <class Real, class Compute = Computed<Real>>
struct Kernels {
  std::size_t (*scratch_bytes)(const Call<Real, Compute>&, int members);
  void (*forward)(const Call<Real, Compute>&, void* scratch, const Team&);
  void (*backward)(const Call<Real, Compute>&, void* scratch, const Team&);
  std::size_t (*head_bytes)(const HeadPass<Real>&, int members);
  void (*head)(const HeadPass<Real>&, void* scratch, const Team&);
  void (*activate)(Activation, const Real* in, Real* out, Index n);
  void (*log_sums)(const Compute* y, Index N, Index V, double* sums);  // of the logits of each row
  double (*sum_of_squares)(const Compute* x, Index n);
  void (*drop)(const Drop<Real, Real>&, Index begin, Index end);  // of the rows from begin to end
  void (*drop_wide)(const Drop<Compute, Real>&, Index begin, Index end);
  void (*adam)(const AdamStep<Compute>&, Index begin, Index end);  // of the numbers from begin to end
};

// What an instruction set has for single steps, and for all else: kept apart, so that a library of single steps holds
// nothing more.
struct InstructionSet {
  const char* name;
  bool (*supported)();
  int vector_bytes;
  const StepKernels<float>* f32;
  const StepKernels<BFloat16>* bf16;
  const StepKernels<float>* int8;  // float rows, weights in int8
};

struct KernelSet {
  const Kernels<float>* f32;
  const Kernels<double>* f64;
  const Kernels<BFloat16>* bf16;
  const StepKernels<double>*
      f64_steps;  // here, and not above: the C interface has no float64, nor these in its library
};

}  // namespace unrolled
