// SPDX-License-Identifier: Apache-2.0
// Tensors of a Python library that offers DLPack's exchange API: torch.  Everything the kernels rely on is checked
// here, when the address of a tensor is read; a call whose tensors do not fit is refused, and unrolled/nn/fit.py has
// the error messages.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "dlpack/dlpack.h"
#include "fields.h"

namespace unrolled {

namespace nb = nanobind;

constexpr bool operator==(const DLDataType& a, const DLDataType& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
inline constexpr DLDataType kInt64{kDLInt, 64, 1}, kFloat32{kDLFloat, 32, 1}, kFloat64{kDLFloat, 64, 1},
    kBool{kDLBool, 8, 1};
template <class Element>
constexpr DLDataType kTypeOf = std::is_same_v<Element, Index>          ? kInt64
                               : std::is_same_v<Element, std::uint8_t> ? kBool
                               : std::is_same_v<Element, float>        ? kFloat32
                                                                       : kFloat64;

// What was registered when torch was imported; never freed.
struct Library {
  const DLPackExchangeAPI* api = nullptr;
  nb::object is_negated;         // whether a tensor is a view that negates its memory
  std::vector<PyObject*> plain;  // types whose values lie at their address; other subclasses may wrap a tensor
};

inline Library& library() {
  static auto* it = new Library;
  return *it;
}

inline void use_library(const nb::object& exchange, const nb::object& is_negated, const nb::tuple& plain) {
  auto* api = static_cast<const DLPackExchangeAPI*>(PyCapsule_GetPointer(exchange.ptr(), "dlpack_exchange_api"));
  if (!api) throw nb::python_error();
  if (api->header.version.major != DLPACK_MAJOR_VERSION || !api->dltensor_from_py_object_no_sync) {
    throw std::runtime_error("expected the exchange API of DLPack 1.3");
  }
  library().api = api;
  library().is_negated = is_negated;
  library().plain.clear();
  for (const nb::handle type : plain) library().plain.push_back(nb::borrow(type).release().ptr());
}

inline bool is_plain(nb::handle object) {
  const auto& plain = library().plain;
  return std::find(plain.begin(), plain.end(), reinterpret_cast<PyObject*>(Py_TYPE(object.ptr()))) != plain.end();
}

// A tensor without an address (fake, sparse, on the device "meta", or with its storage freed) reads as a tensor of no
// device, which never fits.
inline DLTensor read_tensor(nb::handle object) {
  DLTensor t{};
  if (library().api->dltensor_from_py_object_no_sync(object.ptr(), &t) != 0) {
    PyErr_Clear();
    return {};
  }
  if (!t.data && std::find(t.shape, t.shape + t.ndim, 0) == t.shape + t.ndim) return {};
  t.data = static_cast<char*>(t.data) + t.byte_offset;
  return t;
}

inline bool is_negated(nb::handle tensor) {
  PyObject* answer = PyObject_CallFunctionObjArgs(library().is_negated.ptr(), tensor.ptr(), nullptr);
  if (!answer) throw nb::python_error();
  Py_DECREF(answer);  // True and False are always alive
  return answer == Py_True;
}

inline bool is_contiguous(const DLTensor& t) {
  std::int64_t stride = 1;
  for (int axis = t.ndim - 1; axis >= 0; --axis) {
    if (t.shape[axis] == 0) return true;
    if (t.shape[axis] > 1 && t.strides[axis] != stride) return false;
    stride *= t.shape[axis];
  }
  return true;
}

// A shape of up to four axes.
class Shape {
 public:
  Shape(std::initializer_list<Index> axes) : size_(static_cast<int>(axes.size())) {
    std::copy(axes.begin(), axes.end(), axes_);
  }
  void push_back(Index axis) { axes_[size_++] = axis; }
  int size() const { return size_; }
  Index* data() { return axes_; }
  const Index* begin() const { return axes_; }
  const Index* end() const { return axes_ + size_; }

 private:
  Index axes_[4];
  int size_;
};

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

// A tuple (or list) of the fields of a table, read by name: `layer["h_0"]`.
template <const auto& table>
class Named {
 public:
  struct Place {
    int k;
    consteval Place(const char* field) : k(table.place_of(field)) {}
    constexpr explicit Place(std::size_t k) : k(static_cast<int>(k)) {}
  };

  explicit Named(nb::handle entries) : entries_(entries.ptr()), tuple_(PyTuple_Check(entries.ptr())) {
    const bool readable = tuple_ || PyList_Check(entries.ptr());
    const Index n = !readable ? -1 : tuple_ ? PyTuple_Size(entries_) : PyList_Size(entries_);
    if (n != static_cast<Index>(table.fields.size())) refuse(n);
  }
  nb::handle operator[](Place field) const {
    return tuple_ ? PyTuple_GetItem(entries_, field.k) : PyList_GetItem(entries_, field.k);
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse(Index n) {
    throw nb::type_error(
        (std::string(table.name) + " is " +
         (n < 0 ? std::string("neither a tuple nor a list") : "a tuple of " + std::to_string(n) + " fields") +
         ", expected the fields " + listed(table.fields))
            .c_str());
  }

  PyObject* entries_;
  bool tuple_;
};

// The lengths that the letters in the shapes of weights stand for.
struct Letters {
  Index GH, I, P, H;

  Index operator[](Axis axis) const {
    const Index letters[] = {0, GH, I, P, H};
    return axis.times * letters[axis.letter];
  }
};

// Reads the tensors of a call; `fits` says whether all so far had the expected type and shape.
template <class Real>
class Tensors {
 public:
  bool fits = true;

  // Strict: a tensor that is not plain, or not contiguous where it must be, does not fit.  Else a copy is read.
  explicit Tensors(bool strict = false) : strict_(strict) {}

  // Address of a whole tensor, contiguous; null for None.
  template <class Element = Real>
  const Element* whole(nb::handle tensor, const Shape& shape) {
    if (tensor.is_none()) return nullptr;
    require(!strict_ || is_plain(tensor));
    if (strict_ && !fits) return nullptr;
    DLTensor t = read_tensor(tensor);
    if (!expect(t, kTypeOf<Element>, shape)) return nullptr;
    if (!is_contiguous(t) || is_negated(tensor)) t = copied(tensor, t);
    return static_cast<const Element*>(t.data);
  }
  // The same for a tensor to write to.
  Real* result(nb::handle tensor, const Shape& shape) {
    if (tensor.is_none()) return nullptr;
    const DLTensor t = read_tensor(tensor);
    require(is_contiguous(t));
    return expect(t, kTypeOf<Real>, shape) ? static_cast<Real*>(t.data) : nullptr;
  }

  // The weights of one direction to read, or (Element not const) their gradients to write.
  template <class Element>
  Weights<Element> weights(nb::handle tuple, const Letters& letters) {
    using Fields = Named<kWeightsFields>;
    const Fields given(tuple);
    Weights<Element> found{};
    for (std::size_t k = 0; k < std::size(kWeightFields<Element>); ++k) {
      const WeightField<Element>& field = kWeightFields<Element>[k];
      Shape shape{letters[field.shape[0]]};
      if (field.shape[1].letter != Axis::none) shape.push_back(letters[field.shape[1]]);
      const nb::handle tensor = given[typename Fields::Place(k)];
      if constexpr (std::is_const_v<Element>) {
        found.*field.member = whole(tensor, shape);
        require(!(field.required && tensor.is_none()));
      } else {
        found.*field.member = result(tensor, shape);
      }
    }
    if (std::is_const_v<Element>) require(found.W_hr || letters.P == letters.H);
    return found;
  }

  // A tensor to read by rows: its last axis contiguous.
  DLTensor by_rows(nb::handle tensor) {
    const DLTensor t = read_tensor(tensor);
    const bool in_rows = t.ndim > 0 && (t.strides[t.ndim - 1] == 1 || t.shape[t.ndim - 1] == 1);
    return in_rows && !is_negated(tensor) ? t : copied(tensor, t);
  }

  bool expect(const DLTensor& t, DLDataType type, const Shape& shape) {
    const bool good = t.device.device_type == kDLCPU && t.dtype == type && t.ndim == shape.size() &&
                      std::equal(shape.begin(), shape.end(), t.shape);
    require(good);
    return good;
  }
  void require(bool good) { fits = fits && good; }

 private:
  DLTensor copied(nb::handle tensor, const DLTensor& as_it_is) {
    require(!strict_);
    if (strict_) return as_it_is;
    held_.push_back(tensor.attr("resolve_neg")().attr("contiguous")());
    return read_tensor(held_.back());
  }

  bool strict_;
  std::vector<nb::object> held_;
};

}  // namespace unrolled
