// SPDX-License-Identifier: Apache-2.0
// Single-step inference with weights packed once; with a head it can choose symbols and read them back on its own.
// It keeps the arrays alive that it reads and writes, and their owner leaves them in place.
#pragma once
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>

#include "layer_call.h"
#include "request.h"
#include "sampler.h"

namespace unrolled {

template <class Real>
class Stepper {
 public:
  // A stack of layers (kLayerFields), bottom first, each of one step and one direction, and maybe a head (Linear).
  // Every step reads x (or symbols), h_0 and c_0 of each layer and writes its y, h_n and c_n.
  Stepper(const Kernels<Real>& kernels, CellKind cell, nb::handle layers, nb::handle head) : kernels_(kernels) {
    const Index L = length(layers);
    for (Index l = 0; l < L; ++l) {
      Layer& layer = layers_.emplace_back(kernels, cell, item(layers, l));
      const Call<Real>& call = layer.call.call;
      if (!layer.call.fits() || call.T != 1 || call.recurrences != 1 || call.B != layers_.front().call.call.B ||
          (l > 0 && layer.call.reads_symbols())) {
        throw std::invalid_argument("Stepper: the arrays of layer " + std::to_string(l) +
                                    " do not fit each other, or are not those of one step in one direction");
      }
      layer.scratch.emplace(kernels.scratch_bytes(call, 1));
    }
    if (layers_.empty()) throw std::invalid_argument("a stepper needs at least one layer");
    if (!head.is_none()) head_.emplace(kernels, head);
    if (head_ && head_->linear.B != bottom().call.B) {
      throw std::invalid_argument("Stepper: the head is of B = " + std::to_string(head_->linear.B) +
                                  " rows, the layers of B = " + std::to_string(bottom().call.B));
    }
  }
  Stepper(const Stepper&) = delete;

  // One step from x (B, I), or from symbols (B).
  void step(nb::handle x) {
    Tensors<Real> in(Take::kept);
    const Index B = bottom().call.B, I = bottom().call.I;
    if (bottom().reads_symbols()) {
      const Index* given = in.template whole<const Index>(x, {B});
      if (!given) refuse(in, x, "int64 symbols (B) = ", {B});
      for (Index b = 0; b < B; ++b) {
        const Index symbol = given[b];  // read once: it may change meanwhile
        if (symbol < 0 || symbol >= I) {
          throw nb::index_error(
              ("symbol " + std::to_string(symbol) + " to step on, expected 0 to V - 1 = " + std::to_string(I - 1))
                  .c_str());
        }
        bottom().symbols()[b] = symbol;
      }
    } else {
      const Real* given = in.whole(x, {B, I});
      if (!given && B * I > 0) refuse(in, x, type_name(kTypeOf<Real>) + " vectors (B, I) = ", {B, I});
      bottom().read_from(given);
    }
    run();
  }

  // Chooses a symbol for each row from the head's logits and reads it, for `steps` steps or up to one in which a row
  // chose `last`.  u (steps, B) in [0, 1) decide; written (steps, B).  Returns the steps done.
  Index write(const Choice& choice, Index last, Index steps, const double* u, Index* written) {
    const Linear<Real>& head = head_->linear;
    Chooser chooser(choice, head.V);
    for (Index n = 0; n < steps; ++n) {
      bool ended = false;
      for (Index b = 0; b < head.B; ++b) {
        const Index symbol = chooser.choose(head.y + b * head.V, u[n * head.B + b]);
        bottom().symbols()[b] = written[n * head.B + b] = symbol;
        ended = ended || symbol == last;
      }
      run();
      if (ended) return n + 1;
    }
    return steps;
  }

  // The rows that `write` chooses symbols for.  Throws std::invalid_argument unless it can: there must be a head, whose
  // symbols the first layer knows.
  Index rows_to_write() {
    if (!head_ || !bottom().reads_symbols())
      throw std::invalid_argument("write: this stepper has no head to choose symbols from, or reads no symbols");
    if (head_->linear.V > bottom().call.I) {
      throw std::invalid_argument("write: the head chooses from V = " + std::to_string(head_->linear.V) +
                                  " symbols, the first layer reads I = " + std::to_string(bottom().call.I));
    }
    return head_->linear.B;
  }

 private:
  struct Layer {
    LayerCall<Real> call;
    std::optional<Lease> scratch;

    Layer(const Kernels<Real>&, CellKind cell, nb::handle tensors)
        : call(cell, nb::make_tuple(false, nb::none(), nb::none(), nb::none()), nb::make_tuple(tensors),
               nb::make_tuple(), /*save=*/false, /*segment=*/0, Take::kept) {
      call.call.reused = true;
    }
  };

  struct Head {
    Tensors<Real> in{Take::kept};
    Linear<Real> linear;
    Lease scratch;

    Head(const Kernels<Real>& kernels, nb::handle arrays)
        : linear(read_struct<Linear<Real>>(in, arrays)), scratch(kernels.linear_bytes(linear)) {}
  };

  LayerCall<Real>& bottom() { return layers_.front().call; }

  [[noreturn]] static void refuse(Tensors<Real>& in, nb::handle x, const std::string& expected, const Shape& shape) {
    const DLTensor t = in.read(x);
    throw std::invalid_argument("step: x is " + described(t) + ", expected " + expected +
                                shown(shape.begin(), shape.end()));
  }

  void run() {
    for (Layer& layer : layers_) kernels_.forward(layer.call.call, layer.scratch->data(), {0, 1, nullptr}, packed_);
    if (head_) kernels_.linear(head_->linear, head_->scratch.data(), packed_);
    packed_ = true;
  }

  const Kernels<Real>& kernels_;  // scratch is laid out for one instruction set
  std::deque<Layer> layers_;      // neither a LayerCall nor a Lease moves
  std::optional<Head> head_;
  bool packed_ = false;
};

}  // namespace unrolled
