// SPDX-License-Identifier: Apache-2.0
// One step of plain tensors without a gradient: the fast path from Python to the kernels.
#pragma once
#include "request.h"
#include "tensors.h"

namespace unrolled {

// An uninitialised tensor of the library.
inline nb::object new_tensor(DLDataType type, Shape shape) {
  DLTensor prototype{};
  prototype.device = {kDLCPU, 0};
  prototype.ndim = shape.size();
  prototype.dtype = type;
  prototype.shape = shape.data();
  DLManagedTensorVersioned* made = nullptr;
  std::string problem;
  const int failed = library().api->managed_tensor_allocator(
      &prototype, &made, &problem,
      [](void* to, const char*, const char* message) { *static_cast<std::string*>(to) = message; });
  if (failed) throw std::runtime_error("no memory for a result: " + problem);
  void* object = nullptr;
  if (library().api->managed_tensor_to_py_object_no_sync(made, &object) != 0) throw nb::python_error();
  return nb::steal(static_cast<PyObject*>(object));
}

// One step of a stack of layers, or (not `stacked`) of a cell: x (B, I), h (L, B, P), c (L, B, H), weights of each
// layer; B may be missing everywhere, and a cell has no L.  Returns (y, state), or the new state of a cell; None if an
// argument is not a plain contiguous tensor or does not fit, and then the caller takes the slow path.
template <class Real>
nb::object step_of(const Kernels<Real>& kernels, CellKind cell, nb::handle x, nb::handle state, nb::handle weights,
                   bool stacked, int threads) {
  const bool has_c = has_cell_state(cell);
  if (has_c && (!PyTuple_Check(state.ptr()) || length(state) != 2)) return nb::none();
  const nb::handle h = has_c ? item(state, 0) : state, c = has_c ? item(state, 1) : nb::handle(Py_None);
  if (!is_plain(x) || !is_plain(h) || (has_c && !is_plain(c))) return nb::none();
  const DLTensor rows = read_tensor(x);
  if (rows.ndim != 1 && rows.ndim != 2) return nb::none();
  const DLTensor W_hh = read_tensor(Named<kWeightsFields>(item(weights, 0))["W_hh"]);
  if (W_hh.ndim != 2) return nb::none();
  const Index L = length(weights), B = rows.ndim == 2 ? rows.shape[0] : 1, I = rows.shape[rows.ndim - 1];
  const Index P = W_hh.shape[1], H = W_hh.shape[0] / gate_count(cell), GH = gate_count(cell) * H;

  Tensors<Real> in(Take::plain);
  const auto with_rows = [&](Shape shape, Index width) {
    if (rows.ndim == 2) shape.push_back(B);
    shape.push_back(width);
    return shape;
  };
  const Shape layers = stacked ? Shape{L} : Shape{};
  const Shape h_shape = with_rows(layers, P), c_shape = with_rows(layers, H);
  Recurrence<Real> one{};
  one.x = {in.whole(x, with_rows({}, I)), B * I, I};
  one.h_0 = in.whole(h, h_shape);
  one.c_0 = in.whole(c, c_shape);
  std::vector<Recurrence<Real>> recurrences;
  for (Index l = 0; l < L && in.fits_so_far(); ++l) {
    one.weights = in.weights_of(cell, item(weights, l), {GH, l == 0 ? I : P, P, H});
    recurrences.push_back(one);
  }
  if (!in.fits_so_far() || B == 0) return nb::none();

  constexpr DLDataType type = kTypeOf<Real>;
  const nb::object h_n = new_tensor(type, h_shape), c_n = has_c ? new_tensor(type, c_shape) : nb::none();
  const nb::object y = stacked ? new_tensor(type, with_rows({}, P)) : nb::none();
  Real* const h_out = static_cast<Real*>(read_tensor(h_n).data);
  Real* const c_out = has_c ? static_cast<Real*>(read_tensor(c_n).data) : nullptr;
  Real* const y_out = stacked ? static_cast<Real*>(read_tensor(y).data) : nullptr;
  {
    const nb::gil_scoped_release unlocked;
    for (Index l = 0; l < L; ++l) {
      Recurrence<Real>& layer = recurrences[static_cast<std::size_t>(l)];
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
      run_call(kernels, call, threads);
    }
    if (stacked) std::copy(h_out + (L - 1) * B * P, h_out + L * B * P, y_out);
  }
  const nb::object after = has_c ? nb::object(nb::make_tuple(h_n, c_n)) : h_n;
  return stacked ? nb::object(nb::make_tuple(y, after)) : after;
}

}  // namespace unrolled
