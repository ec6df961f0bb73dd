// SPDX-License-Identifier: Apache-2.0
// A layer call from tensors.
#pragma once
#include "tensors.h"

namespace unrolled {

// Copies of one layer, of one shape and one layout: the tensors of each, with the weights of each direction, and the
// gradients of each or none (kLayoutFields, kLayerFields, kWeightsFields and kGradientsFields of fields.h).
template <class Real>
class LayerCall {
  using Layout = Named<kLayoutFields>;
  using Layer = Named<kLayerFields>;
  using LayerGradients = Named<kGradientsFields>;

 public:
  Call<Real> call{};
  bool fits() const { return in_.fits; }

  LayerCall(CellKind cell, nb::handle layout, nb::handle copies, nb::handle gradients, bool save, Index segment) {
    call.cell = cell;
    call.save = save;
    call.segment = segment;
    const Layout given(layout);
    time_axis_ = given["batch_first"].ptr() == Py_True ? 1 : 0;
    const nb::handle reset = given["reset"], batch_sizes = given["batch_sizes"];
    packed_ = !batch_sizes.is_none();
    measure(Layer(item(copies, 0)), batch_sizes);
    if (!in_.fits) return;
    call.lengths = in_.template whole<Index>(given["lengths"], {call.B});
    if (!reset.is_none()) call.reset = rows<const std::uint8_t>(read_tensor(reset), kNoAxis);
    const Index S = length(copies);
    recurrences_.reserve(static_cast<std::size_t>(S * D_));
    for (Index s = 0; s < S && in_.fits; ++s) add_layer(Layer(item(copies, s)));
    for (Index s = 0, n = length(gradients); s < n && in_.fits; ++s) add_gradients(LayerGradients(item(gradients, s)));
    call.recurrences = static_cast<Index>(recurrences_.size());
    call.recurrence = recurrences_.data();
    call.gradients = gradients_.empty() ? nullptr : gradients_.data();
    in_.require(gradients_.empty() || gradients_.size() == recurrences_.size());
  }

 private:
  // T, B, I, H and P: the first copy says, and all others must have them.
  void measure(const Layer& layer, nb::handle batch_sizes) {
    using Fields = Named<kWeightsFields>;
    const DLTensor x = read_tensor(layer["x"]);
    symbols_ = x.dtype == kInt64;
    D_ = length(layer["weights"]);
    const Fields first(item(layer["weights"], 0));
    const DLTensor W_ih = read_tensor(first["W_ih"]), W_hh = read_tensor(first["W_hh"]);
    in_.require(x.ndim == (packed_ ? 1 : 2) + !symbols_ && W_ih.ndim == 2 && W_hh.ndim == 2);
    if (!in_.fits) return;
    call.I = W_ih.shape[1];
    call.P = W_hh.shape[1];
    call.H = W_hh.shape[0] / gate_count(call.cell);
    letters_ = {gate_count(call.cell) * call.H, call.I, call.P, call.H};
    N_ = x.shape[0];
    call.T = x.shape[packed_ ? 0 : time_axis_];
    call.B = x.shape[packed_ ? 0 : 1 - time_axis_];
    if (packed_) {
      const DLTensor sizes = read_tensor(batch_sizes);
      in_.require(sizes.ndim == 1);
      if (!in_.fits) return;
      call.T = sizes.shape[0];
      call.batch_sizes = in_.template whole<Index>(batch_sizes, {call.T});
      call.B = in_.fits && call.T > 0 ? call.batch_sizes[0] : 0;
    }
  }

  static constexpr Index kNoAxis = -1;

  // The rows of a tensor, `width` elements each, or of one element that has no axis of its own.
  template <class Element>
  Rows<Element> rows(const DLTensor& t, Index width) {
    const Index first = time_axis_ ? call.B : call.T, second = time_axis_ ? call.T : call.B;
    Shape shape = packed_ ? Shape{N_} : Shape{first, second};
    if (width != kNoAxis) shape.push_back(width);
    if (!in_.expect(t, kTypeOf<std::remove_const_t<Element>>, shape)) return {};
    const int time = packed_ ? 0 : time_axis_, batch = packed_ ? 0 : 1 - time_axis_;
    return {static_cast<Element*>(t.data), t.strides[time], t.strides[batch]};
  }

  // From an element of an array on; null where there is no array.
  template <class Element>
  static Element* part(Element* array, Index from) {
    return array ? array + from : nullptr;
  }

  // Direction d of what forward saves, (D, *rows, ...) or in segments (D, edges, B, Hp); nothing where there is none.
  Rows<Real> saved(nb::handle tensor, Index d) {
    if (tensor.is_none()) return {};
    const DLTensor t = read_tensor(tensor);
    if (t.ndim < 3 || t.shape[0] == 0) return {};
    const bool by_rows = !call.segment && !packed_;
    const int time = by_rows ? 1 + time_axis_ : 1, batch = by_rows ? 2 - time_axis_ : call.segment ? 2 : 1;
    return {static_cast<Real*>(t.data) + d * t.strides[0], t.strides[time], t.strides[batch]};
  }

  void add_layer(const Layer& layer) {
    const nb::handle weights = layer["weights"], x = layer["x"];
    const Index D = D_, B = call.B, H = call.H, P = call.P;
    Recurrence<Real> one{};
    if (symbols_) {
      one.symbols = rows<const Index>(read_tensor(x), kNoAxis);
    } else {
      one.x = rows<const Real>(in_.by_rows(x), call.I);
    }
    const Real* h_0 = in_.whole(layer["h_0"], {D, B, P});
    const Real* c_0 = in_.whole(layer["c_0"], {D, B, H});
    const Real* h_reset = in_.whole(layer["h_reset"], {D, B, P});
    const Real* c_reset = in_.whole(layer["c_reset"], {D, B, H});
    const Rows<Real> y = rows<Real>(read_tensor(layer["y"]), D * P);
    Real* h_n = in_.result(layer["h_n"], {D, B, P});
    Real* c_n = in_.result(layer["c_n"], {D, B, H});
    in_.require(length(weights) == D);
    for (Index d = 0; d < D && in_.fits; ++d) {
      one.weights = in_.template weights<const Real>(item(weights, d), letters_);
      one.h_0 = part(h_0, d * B * P);
      one.c_0 = part(c_0, d * B * H);
      one.h_reset = part(h_reset, d * B * P);
      one.c_reset = part(c_reset, d * B * H);
      one.y = {y.data + d * P, y.time_stride, y.batch_stride};
      one.h_n = part(h_n, d * B * P);
      one.c_n = part(c_n, d * B * H);
      one.gates = saved(layer["gates"], d);
      one.cells = saved(layer["cells"], d);
      one.reverse = d == 1;
      recurrences_.push_back(one);
    }
  }

  void add_gradients(const LayerGradients& given) {
    const Index D = D_, B = call.B, H = call.H, P = call.P;
    const nb::handle dy = given["dy"], dx = given["dx"], weights = given["weights"];
    Gradients<Real> one{};
    if (!dy.is_none()) one.dy = rows<const Real>(in_.by_rows(dy), D * P);
    const Real* dh_n = in_.whole(given["dh_n"], {D, B, P});
    const bool has_c = has_cell_state(call.cell);  // else an empty tensor may stand for the gradient of no c
    const Real* dc_n = has_c ? in_.whole(given["dc_n"], {D, B, H}) : nullptr;
    if (!dx.is_none()) one.dx = rows<Real>(read_tensor(dx), call.I);
    one.add_to_dx = D == 2;
    Real* dh_0 = in_.result(given["dh_0"], {D, B, P});
    Real* dc_0 = in_.result(given["dc_0"], {D, B, H});
    Real* dh_reset = in_.result(given["dh_reset"], {D, B, P});
    Real* dc_reset = in_.result(given["dc_reset"], {D, B, H});
    for (Index d = 0; d < D && in_.fits; ++d) {
      Gradients<Real> g = one;
      g.dy.data = part(g.dy.data, d * P);
      g.dh_n = part(dh_n, d * B * P);
      g.dc_n = part(dc_n, d * B * H);
      g.dh_0 = part(dh_0, d * B * P);
      g.dc_0 = part(dc_0, d * B * H);
      g.dh_reset = part(dh_reset, d * B * P);
      g.dc_reset = part(dc_reset, d * B * H);
      if (!weights.is_none()) g.weights = in_.template weights<Real>(item(weights, d), letters_);
      gradients_.push_back(g);
    }
  }

  Tensors<Real> in_;
  std::vector<Recurrence<Real>> recurrences_;
  std::vector<Gradients<Real>> gradients_;
  Letters letters_{};
  Index D_ = 0, N_ = 0;
  int time_axis_ = 0;
  bool packed_ = false, symbols_ = false;
};

}  // namespace unrolled
