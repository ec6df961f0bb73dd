// SPDX-License-Identifier: Apache-2.0
// Single-step inference with weights packed once; with a head it can choose symbols and read them back on its own.
// What lies between two steps is its own memory, which Python sees as arrays that cannot take it away.
#pragma once
#include <atomic>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "leased_array.h"
#include "request.h"
#include "sampler.h"
#include "tensors.h"

namespace unrolled {

// Rows (B, width) that Python sees in Compute and the kernels have in Real: one memory where the two agree.
template <class Real>
class SteppedRows {
  using Compute = Computed<Real>;
  static constexpr bool same = std::is_same_v<Real, Compute>;

 public:
  SteppedRows(Index B, Index width) : seen_({static_cast<std::size_t>(B), static_cast<std::size_t>(width)}) {
    seen_.clear();
    if constexpr (!same) kept_.resize(static_cast<std::size_t>(B * width));
  }

  Real* data() {
    if constexpr (same) return seen_.data();
    if constexpr (!same) return kept_.data();
  }
  // Before a step reads them, and after it has written them.
  void take() {
    for (std::size_t k = 0; k < kept_.size(); ++k) kept_[k] = static_cast<Real>(seen_.data()[k]);
  }
  void give() {
    for (std::size_t k = 0; k < kept_.size(); ++k) seen_.data()[k] = static_cast<Compute>(kept_[k]);
  }
  nb::object view() const { return seen_.template as<nb::numpy>(); }

 private:
  LeasedArray<Compute> seen_;
  std::vector<Real> kept_;  // empty where the two types agree
};

template <class Real>
class Stepper {
  using Compute = Computed<Real>;

 public:
  // Layers, bottom first, each by its cell and the weights of its one direction (kWeightsFields), and maybe a head
  // (Linear); for B rows of vectors or of symbols.
  Stepper(const Kernels<Real>& kernels, nb::handle cells, nb::handle layers, nb::handle head, Index B, bool symbols)
      : kernels_(kernels) {
    if (B < 0) throw std::invalid_argument("Stepper: B is " + std::to_string(B) + ", expected 0 or more rows");
    if (length(layers) == 0) throw std::invalid_argument("a stepper needs at least one layer");
    if (length(cells) != length(layers)) {
      throw std::invalid_argument("Stepper: " + std::to_string(length(cells)) + " cells for " +
                                  std::to_string(length(layers)) + " layers, expected one for each");
    }
    if (symbols) symbols_.emplace(zeros<Index>(B, 1));
    for (Index l = 0; l < length(layers); ++l) add_layer(cell_of(nb::cast<Index>(item(cells, l))), item(layers, l), B);
    if (!head.is_none()) add_head(head);
    for (const Layer& layer : layers_) {
      const Call<Real>& call = layer.call;
      work_ += B * gate_count(call.cell) * call.H * (call.P + (layer.recurrence.symbols.data ? 0 : call.I));
    }
    if (head_) work_ += B * head_->linear.V * head_->linear.H;
  }
  Stepper(const Stepper&) = delete;

  // One step from x (B, I), or from symbols (B).
  void step(nb::handle x) {
    const Turn turn(stepping_);
    Tensors<Real> in(Take::arrays);
    const Index B = bottom().call.B, I = bottom().call.I;
    if (symbols_) {
      const Index* given = in.template whole<const Index>(x, {B});
      if (!given) refuse(in, x, "int64 symbols (B) = ", {B});
      for (Index b = 0; b < B; ++b) {
        const Index symbol = given[b];  // read once: it may change meanwhile
        if (symbol < 0 || symbol >= I) {
          throw nb::index_error(
              ("symbol " + std::to_string(symbol) + " to step on, expected 0 to V - 1 = " + std::to_string(I - 1))
                  .c_str());
        }
        symbols_->data()[b] = symbol;
      }
    } else {
      const auto* given = in.template whole<const Compute>(x, {B, I});
      if (!given && B * I > 0) refuse(in, x, type_name(kTypeOf<Compute>) + " vectors (B, I) = ", {B, I});
      if constexpr (std::is_same_v<Real, Compute>) {
        bottom().recurrence.x = {given, B * I, I};
      } else {
        x_.clear();
        for (Index k = 0; k < B * I; ++k) x_.push_back(static_cast<Real>(given[k]));
        bottom().recurrence.x = {x_.data(), B * I, I};
      }
    }
    if (work_ < kWorthOthers) return run();
    const nb::gil_scoped_release unlocked;
    run();
  }

  // Chooses a symbol for each row from the head's logits and reads it, for `steps` steps or up to one in which a row
  // chose `last`.  u (steps, B) in [0, 1) decide; written (steps, B).  Returns the steps done.
  Index write(const Choice& choice, Index last, Index steps, const double* u, Index* written) {
    const Turn turn(stepping_);
    const Linear<Real>& head = head_->linear;
    Chooser chooser(choice, head.V);
    for (Index n = 0; n < steps; ++n) {
      bool ended = false;
      for (Index b = 0; b < head.B; ++b) {
        const Index symbol = chooser.choose(head.y + b * head.V, u[n * head.B + b]);
        symbols_->data()[b] = written[n * head.B + b] = symbol;
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
    if (!head_ || !symbols_)
      throw std::invalid_argument("write: this stepper has no head to choose symbols from, or reads no symbols");
    if (head_->linear.V > bottom().call.I) {
      throw std::invalid_argument("write: the head chooses from V = " + std::to_string(head_->linear.V) +
                                  " symbols, the first layer reads I = " + std::to_string(bottom().call.I));
    }
    return head_->linear.B;
  }

  // Views of what a step reads and writes: h (B, P), and c (B, H) of a cell that has one, of each layer; the last
  // layer's output (B, P); the head's logits (B, V), V 0 without a head.
  nb::list states() const {
    nb::list found;
    for (const Layer& layer : layers_) {
      const nb::object h = layer.h.view();
      found.append(layer.c ? nb::make_tuple(h, layer.c->template as<nb::numpy>()) : nb::make_tuple(h));
    }
    return found;
  }
  nb::object output() const { return layers_.back().y.view(); }
  nb::object logits() const { return (head_ ? head_->y : zeros(layers_.front().call.B, 0)).template as<nb::numpy>(); }

 private:
  // Multiply-adds of a step, some 10 us, from which on it lets other threads of Python run: to take the interpreter
  // back from one that holds it takes as long.
  static constexpr Index kWorthOthers = 400'000;

  // One call at a time: while a step runs, another thread could give it other rows to read.
  class Turn {
   public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
      if (taken.exchange(true, std::memory_order_acquire))
        throw std::runtime_error("another thread is stepping these streams; give each thread streams of its own");
    }
    Turn(const Turn&) = delete;
    ~Turn() { taken_.store(false, std::memory_order_release); }

   private:
    std::atomic<bool>& taken_;
  };

  template <class Element = Compute>
  static LeasedArray<Element> zeros(Index B, Index width) {
    LeasedArray<Element> made({static_cast<std::size_t>(B), static_cast<std::size_t>(width)});
    made.clear();
    return made;
  }

  struct Layer {
    SteppedRows<Real> h, y;
    std::optional<LeasedArray<Compute>> c;
    Recurrence<Real> recurrence{};
    Call<Real> call{};
    std::optional<Lease> scratch;

    Layer(CellKind cell, Index B, const Letters& sizes) : h(B, sizes.P), y(B, sizes.P) {
      if (has_cell_state(cell)) c.emplace(zeros(B, sizes.H));
      recurrence.h_0 = recurrence.h_n = h.data();
      if (c) recurrence.c_0 = recurrence.c_n = c->data();
      recurrence.y = {y.data(), B * sizes.P, sizes.P};
      call.cell = cell;
      call.T = call.recurrences = 1;
      call.B = B, call.I = sizes.I, call.H = sizes.H, call.P = sizes.P;
      call.recurrence = &recurrence;
      call.reused = true;
    }
  };

  struct Head {
    std::vector<Real> b;
    LeasedArray<Compute> y;
    Linear<Real> linear;
    Lease scratch;

    Head(const Kernels<Real>& kernels, const Linear<Real>& given)
        : b(given.b, given.b + given.V), y(zeros(given.B, given.V)), linear(given),
          scratch(kernels.linear_bytes(given)) {
      linear.b = b.data();
      linear.y = y.data();
      kernels.linear(linear, scratch.data(), /*packed=*/false);
      y.clear();
    }
  };

  void add_layer(CellKind cell, nb::handle weights, Index B) {
    Tensors<Real> in(Take::arrays);
    Letters sizes = in.letters(cell, weights);
    if (!layers_.empty()) sizes.I = layers_.back().call.P;
    const Weights<const Real> given = in.weights_of(cell, weights, sizes);
    if (!in.fits()) {
      throw std::invalid_argument(
          "Stepper: the weights of layer " + std::to_string(layers_.size()) + " are " + in.described(weights) +
          ", expected " + type_name(kTypeOf<Real>) + " matrices and vectors with G*H = " + std::to_string(sizes.GH) +
          ", I = " + std::to_string(sizes.I) + ", H = " + std::to_string(sizes.H) + ", P = " + std::to_string(sizes.P));
    }
    Layer& layer = layers_.emplace_back(cell, B, sizes);
    layer.recurrence.weights = given;
    if (layers_.size() > 1) {
      layer.recurrence.x = {layers_.end()[-2].y.data(), B * sizes.I, sizes.I};
    } else if (symbols_) {
      layer.recurrence.symbols = {symbols_->data(), B, 1};
    }
    layer.scratch.emplace(kernels_.step_bytes(layer.call));
    kernels_.prepare_step(layer.call, layer.scratch->data());
  }

  void add_head(nb::handle arrays) {
    Tensors<Real> in(Take::arrays);
    Linear<Real> linear = read_struct<Linear<Real>>(in, arrays);
    Layer& top = layers_.back();
    if (linear.H != top.call.P) {
      throw std::invalid_argument("Stepper: the head reads H = " + std::to_string(linear.H) +
                                  " numbers, the last layer writes P = " + std::to_string(top.call.P));
    }
    linear.x = top.y.data();
    linear.B = top.call.B;
    head_.emplace(kernels_, linear);
  }

  Layer& bottom() { return layers_.front(); }

  [[noreturn]] static void refuse(Tensors<Real>& in, nb::handle x, const std::string& expected, const Shape& shape) {
    const DLTensor t = in.read(x);
    throw std::invalid_argument("step: x is " + described(t) + ", expected " + expected +
                                shown(shape.begin(), shape.end()));
  }

  void run() {
    for (Layer& layer : layers_) {
      layer.h.take();
      kernels_.step(layer.scratch->data());
      layer.h.give();
    }
    layers_.back().y.give();
    if (head_) kernels_.linear(head_->linear, head_->scratch.data(), /*packed=*/true);
  }

  const Kernels<Real>& kernels_;               // scratch is laid out for one instruction set
  std::optional<LeasedArray<Index>> symbols_;  // (B, 1), where the first layer reads symbols
  std::vector<Real> x_;                        // (B, I), where vectors do not come as the kernels read them
  std::deque<Layer> layers_;                   // a call does not move
  std::optional<Head> head_;
  Index work_ = 0;  // multiply-adds of a step
  std::atomic<bool> stepping_ = false;
};

}  // namespace unrolled
