// SPDX-License-Identifier: Apache-2.0
// The weights of layers of one direction, and maybe of a head, packed once: any number of steppers read them at once.
#pragma once
#include <algorithm>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"
#include "workspace.h"

namespace unrolled {

// A layer as it is given: W_ih has a column for each symbol where symbols are read.  In int8, W_hr of `weights` says
// only that the layer is projected.
template <class Real>
struct StackLayer {
  CellKind cell;
  Index I, H, P;
  Weights<const Real> weights;
  Int8Matrices int8;
};

template <class Real>
class Stack {
 public:
  struct Layer {
    CellKind cell;
    Index I, H, P;
    bool projected;
    Lease weights;

    Layer(const StackLayer<Real>& given, std::size_t bytes)
        : cell(given.cell), I(given.I), H(given.H), P(given.P), projected(given.weights.W_hr), weights(bytes) {}
  };
  struct Head {
    Index V, H;
    std::vector<Real> b;
    Lease weights;

    Head(const Linear<Real>& given, std::size_t bytes)
        : V(given.V), H(given.H), b(given.b, given.b + given.V), weights(bytes) {}
  };

  Stack(const StepKernels<Real>& kernels, bool symbols) : kernels(kernels), symbols(symbols) {}
  Stack(const Stack&) = delete;

  const StepKernels<Real>& kernels;  // weights are packed for one instruction set
  const bool symbols;                // whether the first layer reads symbols rather than vectors

  const std::deque<Layer>& layers() const { return layers_; }
  const std::optional<Head>& head() const { return head_; }

  // Multiply-adds of a step of one row.
  Index work() const {
    Index found = head_ ? head_->V * head_->H : 0;
    for (const Layer& layer : layers_) {
      const bool looked_up = symbols && &layer == &layers_.front();
      found += gate_count(layer.cell) * layer.H * (layer.P + (looked_up ? 0 : layer.I));
    }
    return found;
  }

  // Adds the next layer, from the bottom; its weights are copied.
  void add(const StackLayer<Real>& given) {
    const bool looked_up = symbols && layers_.empty();  // then a row of W_ih is never summed
    if (given.int8.W_hh.q && std::max(looked_up ? 0 : given.I, std::max(given.H, given.P)) > kInt8Sum)
      throw std::invalid_argument("int8 weights: a row has more than " + std::to_string(kInt8Sum) + " numbers");
    Recurrence<Real> recurrence{};
    recurrence.weights = given.weights;
    recurrence.int8 = given.int8;
    static constexpr Index some_symbol = 0;
    if (looked_up) recurrence.symbols.data = &some_symbol;
    const Call<Real> call = step_call(given.cell, given.I, given.H, given.P, 0, &recurrence);
    const StepBytes bytes = kernels.bytes(call);
    const Lease own(bytes.own);
    kernels.prepare(call, layers_.emplace_back(given, bytes.weights).weights.data(), own.data(), /*pack=*/true);
  }

  void add_head(const Linear<Real>& given) {
    Linear<Real> linear = given;
    linear.B = 0;
    head_.emplace(given, kernels.linear_bytes(linear).weights);
    kernels.pack_linear(linear, head_->weights.data());
  }

  // The call of a step of layer l for B rows; `recurrence` says where they are.
  Call<Real> call(std::size_t l, Index B, Recurrence<Real>& recurrence) const {
    const Layer& layer = layers_[l];
    static constexpr Real there{};
    if (layer.projected) recurrence.weights.W_hr = &there;  // packed, and no longer read
    return step_call(layer.cell, layer.I, layer.H, layer.P, B, &recurrence);
  }

 private:
  static Call<Real> step_call(CellKind cell, Index I, Index H, Index P, Index B, const Recurrence<Real>* recurrence) {
    Call<Real> call{};
    call.cell = cell;
    call.T = call.recurrences = 1;
    call.B = B, call.I = I, call.H = H, call.P = P;
    call.recurrence = recurrence;
    call.reused = true;
    return call;
  }

  std::deque<Layer> layers_;  // a lease does not move
  std::optional<Head> head_;
};

// W_ih (GH, V) of a layer that looks symbols up in an embedding (V, E): the products of W_ih (GH, E) with its rows, as
// the layer itself would sum them.
template <class Real>
std::vector<Real> embedded(const StepKernels<Real>& kernels, const Real* W_ih, Index GH, const Real* embedding, Index V,
                           Index E) {
  using Compute = Computed<Real>;
  const std::vector<Real> zeros(static_cast<std::size_t>(GH));
  std::vector<Compute> products(static_cast<std::size_t>(GH * V));
  Linear<Real> linear{};
  linear.W = W_ih, linear.b = zeros.data(), linear.x = embedding, linear.y = products.data();
  linear.B = V, linear.H = E, linear.V = GH;
  const StepBytes bytes = kernels.linear_bytes(linear);
  const Lease weights(bytes.weights), own(bytes.own);
  kernels.pack_linear(linear, weights.data());
  kernels.linear(linear, weights.data(), own.data());
  std::vector<Real> columns(products.size());
  for (Index v = 0; v < V; ++v) {
    for (Index row = 0; row < GH; ++row) columns[row * V + v] = static_cast<Real>(products[v * GH + row]);
  }
  return columns;
}

}  // namespace unrolled
