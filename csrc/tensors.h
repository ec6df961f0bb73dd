// SPDX-License-Identifier: Apache-2.0
// Calls whose arguments are tensors of a Python library that offers DLPack's exchange: torch.  Everything the kernels
// rely on is checked here, on the way from a tensor to its address; what does not fit makes the call refuse, and
// unrolled/nn/checks.py has the words for it.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "exchange.h"
#include "request.h"

namespace unrolled {

namespace nb = nanobind;

// What the library told at its import; not freed.
struct Library {
  const dlpack::Exchange* exchange = nullptr;
  nb::object is_negated;         // whether a tensor holds the negative of what lies in its memory
  std::vector<PyObject*> plain;  // types whose values lie where their address says; subclasses may wrap theirs
};

inline Library& library() {
  static auto* it = new Library;
  return *it;
}

inline void use_library(const nb::object& exchange, const nb::object& is_negated, const nb::tuple& plain) {
  auto* found = static_cast<const dlpack::Exchange*>(PyCapsule_GetPointer(exchange.ptr(), "dlpack_exchange_api"));
  if (!found) throw nb::python_error();
  if (found->version.major != 1 || !found->read) throw std::runtime_error("expected the exchange API of DLPack 1.3");
  library().exchange = found;
  library().is_negated = is_negated;
  library().plain.clear();
  for (const nb::handle type : plain) library().plain.push_back(nb::borrow(type).release().ptr());
}

inline bool is_plain(nb::handle object) {
  const auto& plain = library().plain;
  return std::find(plain.begin(), plain.end(), reinterpret_cast<PyObject*>(Py_TYPE(object.ptr()))) != plain.end();
}

// What has no address (a fake, a sparse tensor, one of device "meta") reads as a tensor of no device, which fits
// nowhere.
inline dlpack::Tensor read_tensor(nb::handle object) {
  dlpack::Tensor t{};
  if (library().exchange->read(object.ptr(), &t) != 0) {
    PyErr_Clear();
    return {};
  }
  t.data = static_cast<char*>(t.data) + t.byte_offset;
  return t;
}

inline bool is_negated(nb::handle tensor) {
  PyObject* answer = PyObject_CallFunctionObjArgs(library().is_negated.ptr(), tensor.ptr(), nullptr);
  if (!answer) throw nb::python_error();
  Py_DECREF(answer);  // True and False are always alive
  return answer == Py_True;
}

inline bool is_contiguous(const dlpack::Tensor& t) {
  std::int64_t stride = 1;
  for (int axis = t.ndim - 1; axis >= 0; --axis) {
    if (t.shape[axis] == 0) return true;
    if (t.shape[axis] > 1 && t.strides[axis] != stride) return false;
    stride *= t.shape[axis];
  }
  return true;
}

// An uninitialised tensor of the library.
inline nb::object new_tensor(dlpack::Type type, std::vector<std::int64_t> shape) {
  dlpack::Tensor like{};
  like.device = {dlpack::kCpu, 0};
  like.ndim = static_cast<std::int32_t>(shape.size());
  like.type = type;
  like.shape = shape.data();
  dlpack::Managed* made = nullptr;
  std::string problem;
  const int failed = library().exchange->allocate(
      &like, &made, &problem,
      [](void* to, const char*, const char* message) { *static_cast<std::string*>(to) = message; });
  if (failed) throw std::runtime_error("no memory for a result: " + problem);
  void* object = nullptr;
  if (library().exchange->object_of(made, &object) != 0) throw nb::python_error();
  return nb::steal(static_cast<PyObject*>(object));
}

// Entry k of a tuple or list, borrowed.
inline nb::handle item(nb::handle of, Index k) {
  PyObject* found = PyTuple_Check(of.ptr()) ? PyTuple_GetItem(of.ptr(), k) : PyList_GetItem(of.ptr(), k);
  if (!found) throw nb::python_error();
  return found;
}
inline Index length(nb::handle of) {
  const Index n = PyTuple_Check(of.ptr()) ? PyTuple_Size(of.ptr()) : PyList_Size(of.ptr());
  if (n < 0) throw nb::python_error();
  return n;
}

// Reads the tensors of a call: `fits` tells whether all so far had the type and shape that was expected.
template <class Real>
class Tensors {
  using Axes = std::initializer_list<Index>;

 public:
  static constexpr dlpack::Type kType = sizeof(Real) == 4 ? dlpack::kFloat32 : dlpack::kFloat64;
  bool fits = true;

  // copies: read a tensor that is not as it must lie from a copy; else it does not fit.
  explicit Tensors(bool copies = true) : copies_(copies) {}

  // Address of a whole tensor, contiguous; null for None.
  template <class Shape = Axes>
  const Real* whole(nb::handle tensor, const Shape& shape) {
    if (tensor.is_none()) return nullptr;
    dlpack::Tensor t = read_tensor(tensor);
    if (!expect(t, kType, shape)) return nullptr;
    if (!is_contiguous(t) || is_negated(tensor)) t = copied(tensor, t);
    return static_cast<const Real*>(t.data);
  }
  const Index* numbers(nb::handle tensor, Axes shape) {
    if (tensor.is_none()) return nullptr;
    dlpack::Tensor t = read_tensor(tensor);
    if (!expect(t, dlpack::kInt64, shape)) return nullptr;
    if (!is_contiguous(t)) t = copied(tensor, t);
    return static_cast<const Index*>(t.data);
  }
  // The same of a tensor to write to.
  Real* result(nb::handle tensor, Axes shape) {
    if (tensor.is_none()) return nullptr;
    const dlpack::Tensor t = read_tensor(tensor);
    fits = fits && is_contiguous(t);
    return expect(t, kType, shape) ? static_cast<Real*>(t.data) : nullptr;
  }

  // A tensor to read by rows: its last axis contiguous.
  dlpack::Tensor by_rows(nb::handle tensor) {
    const dlpack::Tensor t = read_tensor(tensor);
    const bool in_rows = t.ndim > 0 && (t.strides[t.ndim - 1] == 1 || t.shape[t.ndim - 1] == 1);
    return in_rows && !is_negated(tensor) ? t : copied(tensor, t);
  }

  template <class Shape = Axes>
  bool expect(const dlpack::Tensor& t, dlpack::Type type, const Shape& shape) {
    const bool good = t.device.type == dlpack::kCpu && t.type == type && t.ndim == static_cast<int>(shape.size()) &&
                      std::equal(shape.begin(), shape.end(), t.shape);
    fits = fits && good;
    return good;
  }

 private:
  dlpack::Tensor copied(nb::handle tensor, const dlpack::Tensor& as_it_is) {
    fits = fits && copies_;
    if (!copies_) return as_it_is;
    held_.push_back(tensor.attr("resolve_neg")().attr("contiguous")());
    return read_tensor(held_.back());
  }

  bool copies_;
  std::vector<nb::object> held_;
};

// A layer call from tensors.  `nets` has one entry for each copy of the layer: (x, h_0, c_0, weights, y, h_n, c_n,
// gates, cells), `gradients` none or one for each: (dy, dh_n, dc_n, dx, dh_0, dc_0, dweights); weights are, for each
// direction, (W_ih, W_hh, b_ih, b_hh, W_hr).
template <class Real>
class LayerCall {
 public:
  Call<Real> call{};
  bool fits() const { return in_.fits; }

  LayerCall(CellKind cell, nb::handle layout, nb::handle nets, nb::handle gradients, bool keep, Index segment) {
    call.cell = cell;
    call.save = keep;
    call.segment = segment;
    time_axis_ = item(layout, 0).ptr() == Py_True ? 1 : 0;
    const nb::handle lengths = item(layout, 1), batch_sizes = item(layout, 2), reset = item(layout, 3);
    packed_ = !batch_sizes.is_none();
    measure(item(nets, 0), batch_sizes);
    if (!in_.fits) return;
    call.lengths = in_.numbers(lengths, {call.B});
    if (!reset.is_none()) call.reset = rows<const std::uint8_t>(read_tensor(reset), dlpack::kBool, kNoAxis);
    const Index S = length(nets);
    nets_.reserve(static_cast<std::size_t>(S * D_));
    for (Index s = 0; s < S && in_.fits; ++s) add_net(item(nets, s));
    for (Index s = 0, n = length(gradients); s < n && in_.fits; ++s) add_gradients(item(gradients, s), item(nets, s));
    call.recurrences = static_cast<Index>(nets_.size());
    call.recurrence = nets_.data();
    call.gradients = gradients_.empty() ? nullptr : gradients_.data();
  }

 private:
  static constexpr dlpack::Type kType = Tensors<Real>::kType;

  // T, B, I, H and P, which the first copy tells and all others must have.
  void measure(nb::handle net, nb::handle batch_sizes) {
    const dlpack::Tensor x = read_tensor(item(net, 0));
    symbols_ = x.type == dlpack::kInt64;
    D_ = length(item(net, 3));
    const nb::handle first = item(item(net, 3), 0);
    const dlpack::Tensor W_ih = read_tensor(item(first, 0)), W_hh = read_tensor(item(first, 1));
    in_.fits = x.ndim == (packed_ ? 1 : 2) + !symbols_ && W_ih.ndim == 2 && W_hh.ndim == 2;
    if (!in_.fits) return;
    call.I = W_ih.shape[1];
    call.P = W_hh.shape[1];
    call.H = W_hh.shape[0] / gate_count(call.cell);
    N_ = x.shape[0];
    call.T = x.shape[packed_ ? 0 : time_axis_];
    call.B = x.shape[packed_ ? 0 : 1 - time_axis_];
    if (packed_) {
      const dlpack::Tensor sizes = read_tensor(batch_sizes);
      in_.fits = sizes.ndim == 1;
      if (!in_.fits) return;
      call.T = sizes.shape[0];
      call.batch_sizes = in_.numbers(batch_sizes, {call.T});
      call.B = in_.fits && call.T > 0 ? call.batch_sizes[0] : 0;
    }
  }

  static constexpr Index kNoAxis = -1;

  // The rows of a tensor, `width` elements each, or of one element that has no axis of its own.
  template <class Element>
  Rows<Element> rows(const dlpack::Tensor& t, dlpack::Type type, Index width) {
    const Index first = time_axis_ ? call.B : call.T, second = time_axis_ ? call.T : call.B;
    std::vector<Index> shape = packed_ ? std::vector<Index>{N_} : std::vector<Index>{first, second};
    if (width != kNoAxis) shape.push_back(width);
    if (!in_.expect(t, type, shape)) return {};
    const int time = packed_ ? 0 : time_axis_, batch = packed_ ? 0 : 1 - time_axis_;
    return {static_cast<Element*>(t.data), t.strides[time], t.strides[batch]};
  }

  // Direction d of what forward keeps, (D, *rows, ...) or in segments (D, edges, B, Hp); nothing where there is none.
  Rows<Real> kept(nb::handle tensor, Index d) {
    if (tensor.is_none()) return {};
    const dlpack::Tensor t = read_tensor(tensor);
    if (t.ndim < 3 || t.shape[0] == 0) return {};
    const bool by_rows = !call.segment && !packed_;
    const int time = by_rows ? 1 + time_axis_ : 1, batch = by_rows ? 2 - time_axis_ : call.segment ? 2 : 1;
    return {static_cast<Real*>(t.data) + d * t.strides[0], t.strides[time], t.strides[batch]};
  }

  void add_net(nb::handle net) {
    const nb::handle weights = item(net, 3);
    const Index D = D_, B = call.B, I = call.I, H = call.H, P = call.P, GH = gate_count(call.cell) * H;
    Recurrence<Real> one{};
    const nb::handle x = item(net, 0);
    if (symbols_) {
      one.symbols = rows<const Index>(read_tensor(x), dlpack::kInt64, kNoAxis);
    } else {
      one.x = rows<const Real>(in_.by_rows(x), kType, I);
    }
    const Real* h_0 = in_.whole(item(net, 1), {D, B, P});
    const Real* c_0 = in_.whole(item(net, 2), {D, B, H});
    const Rows<Real> y = rows<Real>(read_tensor(item(net, 4)), kType, D * P);
    Real* h_n = in_.result(item(net, 5), {D, B, P});
    Real* c_n = in_.result(item(net, 6), {D, B, H});
    in_.fits = in_.fits && length(weights) == D;
    for (Index d = 0; d < D && in_.fits; ++d) {
      const nb::handle w = item(weights, d);
      one.weights.W_ih = in_.whole(item(w, 0), {GH, I});
      one.weights.W_hh = in_.whole(item(w, 1), {GH, P});
      one.weights.b_ih = in_.whole(item(w, 2), {GH});
      one.weights.b_hh = in_.whole(item(w, 3), {GH});
      one.weights.W_hr = in_.whole(item(w, 4), {P, H});
      in_.fits = in_.fits && (one.weights.W_hr || P == H);
      one.h_0 = h_0 ? h_0 + d * B * P : nullptr;
      one.c_0 = c_0 ? c_0 + d * B * H : nullptr;
      one.y = {y.data + d * P, y.time_stride, y.batch_stride};
      one.h_n = h_n ? h_n + d * B * P : nullptr;
      one.c_n = c_n ? c_n + d * B * H : nullptr;
      one.gates = kept(item(net, 7), d);
      one.cells = kept(item(net, 8), d);
      one.reverse = d == 1;
      nets_.push_back(one);
    }
  }

  void add_gradients(nb::handle given, nb::handle net) {
    const Index D = D_, B = call.B, I = call.I, H = call.H, P = call.P, GH = gate_count(call.cell) * H;
    const nb::handle dy = item(given, 0), dx = item(given, 3), dweights = item(given, 6);
    Gradients<Real> one{};
    if (!dy.is_none()) one.dy = rows<const Real>(in_.by_rows(dy), kType, D * P);
    const Real* dh_n = in_.whole(item(given, 1), {D, B, P});
    const bool has_c = has_cell_state(call.cell);  // else an empty tensor may stand for the gradient of no c
    const Real* dc_n = has_c ? in_.whole(item(given, 2), {D, B, H}) : nullptr;
    if (!dx.is_none()) one.dx = rows<Real>(read_tensor(dx), kType, I);
    one.add_to_dx = D == 2;
    Real* dh_0 = in_.result(item(given, 4), {D, B, P});
    Real* dc_0 = in_.result(item(given, 5), {D, B, H});
    for (Index d = 0; d < D && in_.fits; ++d) {
      Gradients<Real> g = one;
      if (g.dy.data) g.dy.data += d * P;
      g.dh_n = dh_n ? dh_n + d * B * P : nullptr;
      g.dc_n = dc_n ? dc_n + d * B * H : nullptr;
      g.dh_0 = dh_0 ? dh_0 + d * B * P : nullptr;
      g.dc_0 = dc_0 ? dc_0 + d * B * H : nullptr;
      if (!dweights.is_none()) {
        const nb::handle dw = item(dweights, d);
        g.weights.W_ih = in_.result(item(dw, 0), {GH, I});
        g.weights.W_hh = in_.result(item(dw, 1), {GH, P});
        g.weights.b_ih = in_.result(item(dw, 2), {GH});
        g.weights.b_hh = in_.result(item(dw, 3), {GH});
        g.weights.W_hr = in_.result(item(dw, 4), {P, H});
      }
      gradients_.push_back(g);
    }
  }

  Tensors<Real> in_;
  std::vector<Recurrence<Real>> nets_;
  std::vector<Gradients<Real>> gradients_;
  Index D_ = 0, N_ = 0;
  int time_axis_ = 0;
  bool packed_ = false, symbols_ = false;
};

// One step of a stack of layers, or (not `stacked`) of a cell: x (B, I), h (L, B, P), c (L, B, H), weights of each
// layer; B may be missing everywhere, and L is for a cell.  Returns (y, state), or the new state of a cell; None for
// whatever is not as plain as this, with which the caller then takes the longer way.
template <class Real>
nb::object step_of(const Kernels<Real>& kernels, CellKind cell, nb::handle x, nb::handle state, nb::handle weights,
                   bool stacked, int threads) {
  constexpr dlpack::Type type = Tensors<Real>::kType;
  const bool has_c = has_cell_state(cell);
  if (has_c && (!PyTuple_Check(state.ptr()) || length(state) != 2)) return nb::none();
  const nb::handle h = has_c ? item(state, 0) : state, c = has_c ? item(state, 1) : nb::handle(Py_None);
  if (!is_plain(x) || !is_plain(h) || (has_c && !is_plain(c))) return nb::none();
  const dlpack::Tensor rows = read_tensor(x);
  if (rows.ndim != 1 && rows.ndim != 2) return nb::none();
  const dlpack::Tensor W_hh = read_tensor(item(item(weights, 0), 1));
  if (W_hh.ndim != 2) return nb::none();
  const Index L = length(weights), B = rows.ndim == 2 ? rows.shape[0] : 1, I = rows.shape[rows.ndim - 1];
  const Index P = W_hh.shape[1], H = W_hh.shape[0] / gate_count(cell), GH = gate_count(cell) * H;

  Tensors<Real> in(/*copies=*/false);
  using Sizes = std::vector<Index>;
  const auto with_rows = [&](Sizes sizes, Index width) {
    if (rows.ndim == 2) sizes.push_back(B);
    sizes.push_back(width);
    return sizes;
  };
  const Sizes layers = stacked ? Sizes{L} : Sizes{};
  const Sizes h_shape = with_rows(layers, P), c_shape = with_rows(layers, H);
  Recurrence<Real> net{};
  net.x = {in.whole(x, with_rows({}, I)), B * I, I};
  net.h_0 = in.whole(h, h_shape);
  net.c_0 = in.whole(c, c_shape);
  std::vector<Recurrence<Real>> nets;
  for (Index l = 0; l < L && in.fits; ++l) {
    const nb::handle w = item(weights, l);
    for (int k = 0; k < 5; ++k) {
      if (!item(w, k).is_none() && !is_plain(item(w, k))) return nb::none();
    }
    net.weights.W_ih = in.whole(item(w, 0), {GH, l == 0 ? I : P});
    net.weights.W_hh = in.whole(item(w, 1), {GH, P});
    net.weights.b_ih = in.whole(item(w, 2), {GH});
    net.weights.b_hh = in.whole(item(w, 3), {GH});
    net.weights.W_hr = in.whole(item(w, 4), {P, H});
    in.fits = in.fits && (net.weights.W_hr || P == H);
    nets.push_back(net);
  }
  if (!in.fits || B == 0) return nb::none();

  const nb::object h_n = new_tensor(type, h_shape), c_n = has_c ? new_tensor(type, c_shape) : nb::none();
  const nb::object y = stacked ? new_tensor(type, with_rows({}, P)) : nb::none();
  Real* const h_out = static_cast<Real*>(read_tensor(h_n).data);
  Real* const c_out = has_c ? static_cast<Real*>(read_tensor(c_n).data) : nullptr;
  Real* const y_out = stacked ? static_cast<Real*>(read_tensor(y).data) : nullptr;
  {
    const nb::gil_scoped_release unlocked;
    for (Index l = 0; l < L; ++l) {
      Recurrence<Real>& layer = nets[static_cast<std::size_t>(l)];
      if (l > 0) layer.x = {h_out + (l - 1) * B * P, B * P, P};
      layer.h_0 += l * B * P;
      layer.h_n = h_out + l * B * P;
      layer.y = {layer.h_n, B * P, P};  // of one step: y is h_n
      if (has_c) layer.c_0 += l * B * H, layer.c_n = c_out + l * B * H;
      Call<Real> call{};
      call.cell = cell;
      call.T = call.recurrences = 1;
      call.B = B, call.I = l == 0 ? I : P, call.H = H, call.P = P;
      call.recurrence = &layer;
      run_call(kernels, call, std::max(1, useful_threads(call, threads)));
    }
    if (stacked) std::copy(h_out + (L - 1) * B * P, h_out + L * B * P, y_out);
  }
  const nb::object after = has_c ? nb::object(nb::make_tuple(h_n, c_n)) : h_n;
  return stacked ? nb::object(nb::make_tuple(y, after)) : after;
}

}  // namespace unrolled
