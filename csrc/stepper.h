// SPDX-License-Identifier: Apache-2.0
// Single-step inference with weights packed once; with a head it can choose symbols and read them back on its own.
// The arrays belong to the caller, who keeps them alive and in place.
#pragma once
#include <deque>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "request.h"
#include "sampler.h"

namespace unrolled {

template <class Real>
class Stepper {
 public:
  // A stack of layers, bottom first, from the fields of Call and Recurrence of each, and maybe a head from those of
  // Linear.  Every step reads x (or symbols), h_0 and c_0 of each layer and writes its y, h_n and c_n.
  Stepper(const Kernels<Real>& kernels, const std::vector<std::pair<Integers, Integers>>& layers,
          const std::optional<Integers>& head)
      : kernels_(kernels) {
    if (layers.empty()) throw std::invalid_argument("a stepper needs at least one layer");
    for (const auto& [call, recurrence] : layers) layers_.emplace_back(kernels, call, recurrence);
    if (head) head_.emplace(kernels, *head);
  }
  Stepper(const Stepper&) = delete;

  // The rows that `write` chooses symbols for, -1 if it cannot: it needs a head, and a first layer that reads symbols.
  Index writes() const { return head_ && layers_.front().recurrence().symbols.data ? head_->linear.B : -1; }

  // The input of the first layer from now on, (B, I).
  void read_from(const void* x) { layers_.front().recurrence().x.data = static_cast<const Real*>(x); }

  void step() {
    const Recurrence<Real>& first = layers_.front().recurrence();
    if (!first.x.data && !first.symbols.data)
      throw std::invalid_argument("step: this stepper reads vectors, not symbols");
    if (!packed_) {
      for (Layer& layer : layers_) kernels_.prepare_step(layer.request.call, layer.scratch.data());
    }
    for (Layer& layer : layers_) kernels_.step(layer.scratch.data());
    if (head_) kernels_.linear(head_->linear, head_->scratch.data(), packed_);
    packed_ = true;
  }

  // Chooses a symbol for each row from the head's logits and reads it, for `steps` steps or up to one in which a row
  // chose `last`.  u (steps, B) in [0, 1) decide; written (steps, B).  Returns the steps done.
  Index write(const Choice& choice, Index last, Index steps, const double* u, Index* written) {
    const Linear<Real>& head = head_->linear;
    Chooser chooser(choice, head.V);
    Index* const symbols = const_cast<Index*>(layers_.front().recurrence().symbols.data);
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
    Request<Real> request;
    Lease scratch;

    Layer(const Kernels<Real>& kernels, const Integers& call, const Integers& recurrence)
        : request(call, {recurrence}, {}), scratch(kernels.step_bytes(reused(request.call))) {}

    static const Call<Real>& reused(Call<Real>& call) {
      call.reused = true;
      return call;
    }
    Recurrence<Real>& recurrence() { return request.recurrences.front(); }
    const Recurrence<Real>& recurrence() const { return request.recurrences.front(); }
  };

  struct Head {
    Linear<Real> linear;
    Lease scratch;

    Head(const Kernels<Real>& kernels, const Integers& fields)
        : linear(read_struct<Linear<Real>>(fields)), scratch(kernels.linear_bytes(linear)) {}
  };

  const Kernels<Real>& kernels_;  // scratch is laid out for one instruction set
  std::deque<Layer> layers_;      // neither a Request nor a Lease moves
  std::optional<Head> head_;
  bool packed_ = false;
};

}  // namespace unrolled
