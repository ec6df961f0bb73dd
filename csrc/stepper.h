// SPDX-License-Identifier: Apache-2.0
// Single-step inference on packed weights; with a head it can choose symbols and read them back on its own.  The states
// between two steps are in its own memory.  After construction a step takes no memory, lock or system call.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "leased_array.h"
#include "sampler.h"
#include "stack.h"

namespace unrolled {

// Rows (B, width) that callers see in Compute and the kernels have in Real: one memory where the two agree.
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
  void take() { take(seen_.data()); }
  void take(const Compute* from) {
    for (std::size_t k = 0; k < kept_.size(); ++k) kept_[k] = static_cast<Real>(from[k]);
  }
  void give() {
    for (std::size_t k = 0; k < kept_.size(); ++k) seen_.data()[k] = static_cast<Compute>(kept_[k]);
  }
  const LeasedArray<Compute>& seen() const { return seen_; }

 private:
  LeasedArray<Compute> seen_;
  std::vector<Real> kept_;  // empty where the two types agree
};

template <class Real>
class Stepper {
  using Compute = Computed<Real>;

 public:
  struct Layer {
    SteppedRows<Real> h, y;
    std::optional<LeasedArray<Compute>> c;
    Recurrence<Real> recurrence{};
    Call<Real> call{};
    std::optional<Lease> own;

    Layer(const Stack<Real>& stack, std::size_t l, Index B) : h(B, stack.layers()[l].P), y(B, stack.layers()[l].P) {
      const auto& layer = stack.layers()[l];
      if (has_cell_state(layer.cell)) c.emplace(zeros<Compute>(B, layer.H));
      recurrence.h_0 = recurrence.h_n = h.data();
      if (c) recurrence.c_0 = recurrence.c_n = c->data();
      recurrence.y = {y.data(), B * layer.P, layer.P};
      call = stack.call(l, B, recurrence);
    }
  };

  Stepper(std::shared_ptr<const Stack<Real>> stack, Index B)
      : stack_(std::move(stack)), B_(rows(B)), logits_(zeros<Compute>(B, V())) {
    if (stack_->symbols) {
      symbols_.emplace(zeros<Index>(B, 1));
    } else if constexpr (!std::is_same_v<Real, Compute>) {
      x_.emplace(B, I());
    }
    for (std::size_t l = 0; l < stack_->layers().size(); ++l) {
      Layer& layer = layers_.emplace_back(*stack_, l, B);
      const Index I = layer.call.I;
      if (l > 0) {
        layer.recurrence.x = {layers_[l - 1].y.data(), B * I, I};
      } else if (symbols_) {
        layer.recurrence.symbols = {symbols_->data(), B, 1};
      }
      layer.own.emplace(stack_->kernels.bytes(layer.call).own);
      stack_->kernels.prepare(layer.call, weights(l), layer.own->data(), /*pack=*/false);
    }
    if (const auto& head = stack_->head()) {
      linear_.b = head->b.data(), linear_.x = layers_.back().y.data(), linear_.y = logits_.data();
      linear_.B = B, linear_.H = head->H, linear_.V = head->V;
      head_own_.emplace(stack_->kernels.linear_bytes(linear_).own);
    }
  }
  Stepper(const Stepper&) = delete;

  Index B() const { return B_; }
  Index I() const { return stack_->layers().front().I; }
  Index V() const { return stack_->head() ? stack_->head()->V : 0; }
  bool reads_symbols() const { return stack_->symbols; }
  const std::shared_ptr<const Stack<Real>>& stack() const { return stack_; }
  Index work() const { return B_ * stack_->work(); }  // multiply-adds of a step

  [[noreturn]] void refuse_symbol(const std::string& symbol) const {
    throw std::out_of_range("symbol " + symbol + " to step on, expected 0 to V - 1 = " + std::to_string(I() - 1));
  }

  // One step from symbols (B).  Throws std::out_of_range for one that the first layer does not know; nothing has moved.
  void step(const Index* given) {
    const Turn turn(stepping_);
    for (Index b = 0; b < B_; ++b) {
      const Index symbol = given[b];  // read once: it may change meanwhile
      if (symbol < 0 || symbol >= I()) refuse_symbol(std::to_string(symbol));
      symbols_->data()[b] = symbol;
    }
    run();
  }

  // One step from vectors x (B, I).
  void step(const Compute* x) {
    const Turn turn(stepping_);
    if constexpr (std::is_same_v<Real, Compute>) {
      layers_.front().recurrence.x = {x, B_ * I(), I()};
    } else {
      x_->take(x);
      layers_.front().recurrence.x = {x_->data(), B_ * I(), I()};
    }
    run();
  }

  // Chooses a symbol for each row from the head's logits and reads it, for `steps` steps or up to one in which a row
  // chose `last`.  u (steps, B) in [0, 1) decide; written (steps, B).  Returns the steps done.
  Index write(const Choice& choice, Index last, Index steps, const double* u, Index* written) {
    const Turn turn(stepping_);
    Chooser chooser(choice, V());
    for (Index n = 0; n < steps; ++n) {
      bool ended = false;
      for (Index b = 0; b < B_; ++b) {
        const Index symbol = chooser.choose(logits_.data() + b * V(), u[n * B_ + b]);
        symbols_->data()[b] = written[n * B_ + b] = symbol;
        ended = ended || symbol == last;
      }
      run();
      if (ended) return n + 1;
    }
    return steps;
  }

  // The rows that `write` chooses symbols for.  Throws std::invalid_argument unless it can: there must be a head, whose
  // symbols the first layer knows.
  Index rows_to_write() const {
    if (!stack_->head() || !symbols_)
      throw std::invalid_argument("write: this stepper has no head to choose symbols from, or reads no symbols");
    if (V() > I()) {
      throw std::invalid_argument("write: the head chooses from V = " + std::to_string(V()) +
                                  " symbols, the first layer reads I = " + std::to_string(I()));
    }
    return B_;
  }

  // What a step reads and writes: h (B, P), and c (B, H) of a cell that has one, of each layer; the last layer's output
  // (B, P); the head's logits (B, V), V 0 without a head.
  const std::deque<Layer>& layers() const { return layers_; }
  const LeasedArray<Compute>& output() const { return layers_.back().y.seen(); }
  const LeasedArray<Compute>& logits() const { return logits_; }

 private:
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

  static Index rows(Index B) {
    if (B < 0) throw std::invalid_argument("Stepper: B is " + std::to_string(B) + ", expected 0 or more rows");
    return B;
  }

  template <class Element>
  static LeasedArray<Element> zeros(Index B, Index width) {
    LeasedArray<Element> made({static_cast<std::size_t>(B), static_cast<std::size_t>(width)});
    made.clear();
    return made;
  }

  // Packed by the stack: a step only reads them.
  void* weights(std::size_t l) const { return stack_->layers()[l].weights.data(); }

  void run() {
    for (Layer& layer : layers_) {
      layer.h.take();
      stack_->kernels.step(layer.own->data());
      layer.h.give();
    }
    layers_.back().y.give();
    if (head_own_) stack_->kernels.linear(linear_, stack_->head()->weights.data(), head_own_->data());
  }

  const std::shared_ptr<const Stack<Real>> stack_;
  const Index B_;
  std::optional<LeasedArray<Index>> symbols_;  // (B, 1), where the first layer reads symbols
  std::optional<SteppedRows<Real>> x_;         // (B, I), where vectors do not come as the kernels read them
  std::deque<Layer> layers_;                   // a call does not move
  LeasedArray<Compute> logits_;
  Linear<Real> linear_{};
  std::optional<Lease> head_own_;
  std::atomic<bool> stepping_ = false;
};

}  // namespace unrolled
