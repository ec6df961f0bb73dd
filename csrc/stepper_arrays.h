// SPDX-License-Identifier: Apache-2.0
// A stepper from the arrays that Python gives, and its own as Python sees them.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "array_view.h"
#include "numpy_array.h"
#include "stepper.h"
#include "tensors.h"

namespace unrolled {

// What Python makes a stepper of: the cell of each layer, bottom first; the weights of its one direction
// (kWeightsFields); maybe a head (Linear) and an embedding (V, E) of the symbols.  A matrix in int8 is a pair q, scale.
struct StackArrays {
  nb::handle cells, layers, head, embedding;
  bool symbols, int8;
};

template <class Real>
class StackReader {
 public:
  StackReader(const StepKernels<Real>& kernels, const StepKernels<Real>& plain, const StackArrays& given)
      : given_(given), plain_(plain), stack_(std::make_shared<Stack<Real>>(kernels, given.symbols)) {}

  std::shared_ptr<const Stack<Real>> read() {
    const Index L = length(given_.layers);
    if (L == 0) throw std::invalid_argument("a stepper needs at least one layer");
    if (length(given_.cells) != L) {
      throw std::invalid_argument("Stepper: " + std::to_string(length(given_.cells)) + " cells for " +
                                  std::to_string(L) + " layers, expected one for each");
    }
    for (Index l = 0; l < L; ++l) add_layer(l);
    if (!given_.head.is_none()) add_head();
    return std::move(stack_);
  }

 private:
  // The matrices of a layer, or of a head, in int8.
  Int8Matrix int8_matrix(Tensors<Real>& in, nb::handle pair, Index rows, Index columns) {
    if (pair.is_none()) return {};
    in.require(PyTuple_Check(pair.ptr()) && length(pair) == 2);
    if (!in.fits_so_far()) return {};
    const Int8Matrix found{in.template whole<const std::int8_t>(item(pair, 0), {rows, columns}),
                           in.template whole<const float>(item(pair, 1), {rows})};
    in.require(found.q && found.scale);
    return found;
  }

  void add_layer(Index l) {
    using Fields = Named<kWeightsFields>;
    const CellKind cell = cell_of(nb::cast<Index>(item(given_.cells, l)));
    const nb::handle tuple = item(given_.layers, l);
    const Fields weights(tuple);
    Tensors<Real> in(Take::arrays);
    const bool embeds = l == 0 && !given_.embedding.is_none(), reads_columns = l == 0 && given_.symbols;
    const auto matrix = [&](nb::handle w) { return given_.int8 && PyTuple_Check(w.ptr()) ? item(w, 0) : w; };
    Letters sizes = in.letters(cell, matrix(weights["W_ih"]), matrix(weights["W_hh"]), matrix(weights["W_hr"]));
    if (l > 0) sizes.I = stack_->layers().back().P;
    StackLayer<Real> layer{cell, sizes.I, sizes.H, sizes.P, {}, {}};
    if (!given_.int8) {
      layer.weights = in.weights_of(cell, tuple, sizes);
    } else if constexpr (std::is_same_v<Real, float>) {
      layer.weights = in.vectors_of(cell, tuple, sizes);
      if (reads_columns) {
        layer.weights.W_ih = in.whole(weights["W_ih"], {sizes.GH, sizes.I});
        in.require(layer.weights.W_ih);
      } else {
        layer.int8.W_ih = int8_matrix(in, weights["W_ih"], sizes.GH, sizes.I);
      }
      layer.int8.W_hh = int8_matrix(in, weights["W_hh"], sizes.GH, sizes.P);
      layer.int8.W_hr = int8_matrix(in, weights["W_hr"], sizes.P, sizes.H);
      in.require(layer.int8.W_hh.q && (layer.int8.W_hr.q ? has_cell_state(cell) : sizes.P == sizes.H));
      static constexpr float projected{};
      if (layer.int8.W_hr.q) layer.weights.W_hr = &projected;
    }
    if (!in.fits()) {
      throw std::invalid_argument("Stepper: the weights of layer " + std::to_string(l) + " are " + in.described(tuple) +
                                  ", expected " + type_name(kTypeOf<Real>) +
                                  (given_.int8 ? " vectors, and matrices in int8," : " matrices and vectors") +
                                  " with G*H = " + std::to_string(sizes.GH) + ", I = " + std::to_string(sizes.I) +
                                  ", H = " + std::to_string(sizes.H) + ", P = " + std::to_string(sizes.P));
    }
    std::vector<Real> columns;
    if (embeds) {
      const DLTensor E = in.read(given_.embedding);
      const Index V = E.ndim == 2 ? E.shape[0] : 0;
      const Real* rows = in.whole(given_.embedding, {V, sizes.I});
      if (!rows || !given_.symbols) {
        throw std::invalid_argument("Stepper: the embedding is " + described(E) + ", expected " +
                                    type_name(kTypeOf<Real>) + " (V, E) with E = " + std::to_string(sizes.I) +
                                    ", of a stepper that reads symbols");
      }
      columns = embedded(plain_, layer.weights.W_ih, sizes.GH, rows, V, sizes.I);
      layer.weights.W_ih = columns.data(), layer.I = V;
    }
    stack_->add(layer);
  }

  void add_head() {
    Tensors<Real> in(Take::arrays);
    Linear<Real> linear{};
    if (given_.int8) {
      const Named<kFieldsOf<Linear<Real>>> head(given_.head);
      const DLTensor b = in.read(head["b"]);
      linear.V = b.ndim == 1 ? b.shape[0] : 0;
      linear.H = stack_->layers().back().P;
      linear.b = in.whole(head["b"], {linear.V});
      linear.int8 = int8_matrix(in, head["W"], linear.V, linear.H);
      if (!linear.b || !linear.int8.q || !in.fits())
        throw std::invalid_argument("Stepper: the head does not fit, expected W in int8 (V, H) with H = " +
                                    std::to_string(linear.H) + ", and b (V) in float32");
    } else {
      linear = read_struct<Linear<Real>>(in, given_.head);
    }
    const Index P = stack_->layers().back().P;
    if (linear.H != P) {
      throw std::invalid_argument("Stepper: the head reads H = " + std::to_string(linear.H) +
                                  " numbers, the last layer writes P = " + std::to_string(P));
    }
    stack_->add_head(linear);
  }

  const StackArrays& given_;
  const StepKernels<Real>& plain_;  // of what is not in int8
  std::shared_ptr<Stack<Real>> stack_;
};

// One step from x (B, I) or symbols (B); with one row also from x (I) or a number.
template <class Real>
void step_stepper(Stepper<Real>& stepper, nb::handle x) {
  using Compute = Computed<Real>;
  const Index B = stepper.B(), I = stepper.I();
  const bool symbols = stepper.reads_symbols();
  if (symbols && B == 1 && PyLong_CheckExact(x.ptr())) {
    int overflow = 0;
    const Index symbol = PyLong_AsLongLongAndOverflow(x.ptr(), &overflow);
    if (overflow) stepper.refuse_symbol("beyond int64");
    return run_unlocked(stepper.work(), [&] { stepper.step(&symbol); });
  }
  const Shape whole = symbols ? Shape{B} : Shape{B, I}, one = symbols || B != 1 ? whole : Shape{I};
  const auto step = [&]<class Element>(const char* what) {
    const Numpy& numpy = Numpy::instance();
    const Element* given = numpy.numbers<Element>(x, one);
    if (!given) given = numpy.numbers<Element>(x, whole);
    if (given) return run_unlocked(stepper.work(), [&] { stepper.step(given); });
    Tensors<Real> in(Take::arrays);
    const auto t = in.read(x);
    given = in.template strided<const Element>(x, t, t.ndim == 1 ? one : whole, 0).data;
    if (!in.fits_so_far()) {
      throw std::invalid_argument("step: x is " + described(t) + ", expected " + type_name(kTypeOf<Element>) + what +
                                  shown(whole.begin(), whole.end()));
    }
    run_unlocked(stepper.work(), [&] { stepper.step(given); });
  };
  symbols ? step.template operator()<Index>(" symbols (B) = ")
          : step.template operator()<Compute>(" vectors (B, I) = ");
}

template <class Real>
nb::list states_of(const Stepper<Real>& stepper) {
  nb::list found;
  for (const auto& layer : stepper.layers()) {
    const nb::object h = view_of<nb::numpy>(layer.h.seen());
    found.append(layer.c ? nb::make_tuple(h, view_of<nb::numpy>(*layer.c)) : nb::make_tuple(h));
  }
  return found;
}

}  // namespace unrolled
