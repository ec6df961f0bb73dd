// SPDX-License-Identifier: Apache-2.0
// One step of plain tensors without a gradient: the fast path from Python to the kernels.
#pragma once
#include <cstdlib>
#include <optional>

#include "request.h"
#include "tensors.h"

namespace unrolled {

// A tensor to write to: shape, strides and numbers lie in one piece of memory, which is the library's from then on.
template <class Real>
class NewTensor {
 public:
  explicit NewTensor(const Shape& shape) {
    std::size_t bytes = sizeof(Real);
    for (const Index axis : shape) bytes *= static_cast<std::size_t>(axis);
    void* const memory = std::malloc(sizeof(Block) + kLine + bytes);
    if (!memory) throw NoMemory(bytes);
    Block* const block = new (memory) Block{};
    const auto behind = reinterpret_cast<std::uintptr_t>(block + 1);
    data_ = reinterpret_cast<Real*>((behind + kLine - 1) / kLine * kLine);
    std::copy(shape.begin(), shape.end(), block->shape);
    Index stride = 1;
    for (int axis = shape.size() - 1; axis >= 0; stride *= block->shape[axis--]) block->strides[axis] = stride;
    DLManagedTensorVersioned& managed = block->managed;
    managed.version = {DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION};
    managed.manager_ctx = memory;
    managed.deleter = [](DLManagedTensorVersioned* self) { std::free(self->manager_ctx); };
    managed.dl_tensor = {data_, {kDLCPU, 0}, shape.size(), kTypeOf<Real>, block->shape, block->strides, 0};
    void* object = nullptr;
    if (library().api->managed_tensor_to_py_object_no_sync(&managed, &object) != 0) throw nb::python_error();
    tensor_ = nb::steal(static_cast<PyObject*>(object));
  }

  Real* data() const { return data_; }
  const nb::object& tensor() const { return tensor_; }

 private:
  static constexpr std::size_t kLine = 64;
  struct Block {
    DLManagedTensorVersioned managed;
    Index shape[Shape::kMost], strides[Shape::kMost];
  };

  Real* data_;
  nb::object tensor_;
};

// One step of a stack of layers, or (not `stacked`) of a cell: x (B, I), h (L, B, P), c (L, B, H), weights of each
// layer, W_hh of the first; B may be missing everywhere, and a cell has no L.  Returns (y, state), or the new state of
// a cell; None if an argument is not a plain contiguous tensor or does not fit, and then the caller takes the slow
// path.
template <class Real>
nb::object step_of(const Kernels<Real>& kernels, CellKind cell, nb::handle x, nb::handle state, nb::handle weights,
                   const DLTensor& W_hh, bool stacked, int threads) {
  const bool has_c = has_cell_state(cell);
  if (has_c && (!PyTuple_Check(state.ptr()) || length(state) != 2)) return nb::none();
  const nb::handle h = has_c ? item(state, 0) : state, c = has_c ? item(state, 1) : nb::handle(Py_None);
  if (!is_plain(x) || !is_plain(h) || (has_c && !is_plain(c))) return nb::none();
  Tensors<Real> in(Take::plain);
  const auto rows = in.read(x);
  if ((rows.ndim != 1 && rows.ndim != 2) || W_hh.ndim != 2) return nb::none();
  const Index L = length(weights), B = rows.ndim == 2 ? rows.shape[0] : 1, I = rows.shape[rows.ndim - 1];
  const Index P = W_hh.shape[1], H = W_hh.shape[0] / gate_count(cell), GH = gate_count(cell) * H;

  const auto with_rows = [&](Shape shape, Index width) {
    if (rows.ndim == 2) shape.push_back(B);
    shape.push_back(width);
    return shape;
  };
  const Shape layers = stacked ? Shape{L} : Shape{};
  const Shape h_shape = with_rows(layers, P), c_shape = with_rows(layers, H);
  Recurrence<Real> one{};
  one.x = {in.template strided<const Real>(x, rows, with_rows({}, I), 0).data, B * I, I};
  one.h_0 = in.whole(h, h_shape);
  one.c_0 = in.whole(c, c_shape);
  std::vector<Recurrence<Real>> recurrences;
  for (Index l = 0; l < L && in.fits_so_far(); ++l) {
    one.weights = in.weights_of(cell, item(weights, l), {GH, l == 0 ? I : P, P, H});
    recurrences.push_back(one);
  }
  if (!in.fits_so_far() || B == 0) return nb::none();

  const NewTensor<Real> h_n(h_shape);
  std::optional<NewTensor<Real>> c_n, y;
  if (has_c) c_n.emplace(c_shape);
  if (stacked) y.emplace(with_rows({}, P));
  run_unlocked(B * GH * (I + P + (L - 1) * 2 * P), [&] {
    for (Index l = 0; l < L; ++l) {
      Recurrence<Real>& layer = recurrences[static_cast<std::size_t>(l)];
      if (l > 0) layer.x = {h_n.data() + (l - 1) * B * P, B * P, P};
      layer.h_0 += l * B * P;
      layer.h_n = h_n.data() + l * B * P;
      layer.y = {layer.h_n, B * P, P};  // of one step: y is h_n
      if (has_c) layer.c_0 += l * B * H, layer.c_n = c_n->data() + l * B * H;
      Call<Real> call{};
      call.cell = cell;
      call.T = call.recurrences = 1;
      call.B = B, call.I = l == 0 ? I : P, call.H = H, call.P = P;
      call.recurrence = &layer;
      run_call(kernels, call, threads);
    }
    if (stacked) std::copy_n(h_n.data() + (L - 1) * B * P, B * P, y->data());
  });
  const nb::object after = has_c ? nb::object(nb::make_tuple(h_n.tensor(), c_n->tensor())) : h_n.tensor();
  return stacked ? nb::object(nb::make_tuple(y->tensor(), after)) : after;
}

}  // namespace unrolled
