// SPDX-License-Identifier: Apache-2.0
// Single-step inference with weights packed once; with a head it can choose symbols and read them back on its own.
// The arrays belong to the caller, who keeps them alive and in place.
#pragma once
#include <deque>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "sampler.h"
#include "dispatch.h"
#include "workspace.h"

namespace unrolled {

template <class Real>
class Stepper {
 public:
  Stepper() : set_(active_instruction_set()) {}
  Stepper(const Stepper&) = delete;

  // Adds a layer on top: every step reads its x (or symbols), h_0 and c_0 and writes its y, h_n and c_n.
  void add_layer(const Call<Real>& call, std::vector<Recurrence<Real>> recurrences) {
    layers_.emplace_back(kernels(), call, std::move(recurrences));
  }

  void add_head(const Linear<Real>& head) { heads_.emplace_back(head, kernels().linear_bytes(head)); }

  // The rows that `write` chooses symbols for, -1 if it cannot: it needs a head, and a first layer that reads symbols.
  Index writes() const {
    const bool can = !heads_.empty() && !layers_.empty() && layers_.front().recurrences.front().symbols.data;
    return can ? heads_.front().linear.B : -1;
  }

  // The input of the first layer from now on, (B, I).
  void read_from(const void* x) { layers_.front().recurrences.front().x.data = static_cast<const Real*>(x); }

  void step() {
    const Recurrence<Real>& first = layers_.front().recurrences.front();
    if (!first.x.data && !first.symbols.data)
      throw std::invalid_argument("step: this stepper reads vectors, not symbols");
    for (Layer& layer : layers_) kernels().forward(layer.call, layer.scratch.data(), Team{0, 1, nullptr}, packed_);
    for (Head& head : heads_) kernels().linear(head.linear, head.scratch.data(), packed_);
    packed_ = true;
  }

  // Chooses a symbol for each row from the head's logits and reads it, for `steps` steps or up to one in which a row
  // chose `last`.  u (steps, B) in [0, 1) decide; written (steps, B).  Returns the steps done.
  Index write(const Choice& choice, Index last, Index steps, const double* u, Index* written) {
    const Linear<Real>& head = heads_.front().linear;
    Chooser chooser(choice, head.V);
    Index* const symbols = const_cast<Index*>(layers_.front().recurrences.front().symbols.data);
    for (Index n = 0; n < steps; ++n) {
      bool ended = false;
      for (Index b = 0; b < head.B; ++b) {
        symbols[b] = written[n * head.B + b] = chooser.choose(head.y + b * head.V, u[n * head.B + b]);
        ended = ended || symbols[b] == last;
      }
      step();
      if (ended) return n + 1;
    }
    return steps;
  }

 private:
  struct Layer {
    Call<Real> call;
    std::vector<Recurrence<Real>> recurrences;
    Lease scratch;

    Layer(const Kernels<Real>& kernels, const Call<Real>& c, std::vector<Recurrence<Real>> n)
        : call(c), recurrences(std::move(n)), scratch(kernels.scratch_bytes(prepared(), 1)) {}
    Layer(const Layer&) = delete;

    const Call<Real>& prepared() {
      call.recurrence = recurrences.data();
      call.gradients = nullptr;
      call.reused = true;
      return call;
    }
  };

  struct Head {
    Linear<Real> linear;
    Lease scratch;
    Head(const Linear<Real>& linear, std::size_t bytes) : linear(linear), scratch(bytes) {}
    Head(const Head&) = delete;
  };

  const Kernels<Real>& kernels() const {
    if constexpr (std::is_same_v<Real, float>)
      return set_.f32;
    else
      return set_.f64;
  }

  const InstructionSet& set_;  // scratch is laid out for one instruction set
  std::deque<Layer> layers_;
  std::deque<Head> heads_;  // one or none; a Lease does not move
  bool packed_ = false;
};

}  // namespace unrolled
