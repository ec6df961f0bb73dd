// SPDX-License-Identifier: Apache-2.0
// What comes from Python, unchecked: tensors of a library that offers DLPack's exchange API (torch), tuples read by the
// names of their fields, and descriptions of what came.  tensors.h checks arrays before their addresses are used.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

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
    kBFloat16{kDLBfloat, 16, 1}, kUInt16{kDLUInt, 16, 1}, kInt8{kDLInt, 8, 1}, kBool{kDLBool, 8, 1};
template <class Element>
constexpr DLDataType kTypeOf = std::is_same_v<Element, Index>          ? kInt64
                               : std::is_same_v<Element, std::uint8_t> ? kBool
                               : std::is_same_v<Element, std::int8_t>  ? kInt8
                               : std::is_same_v<Element, BFloat16>     ? kBFloat16
                               : std::is_same_v<Element, float>        ? kFloat32
                                                                       : kFloat64;

// What was registered when torch was imported; never freed.
struct Library {
  const DLPackExchangeAPI* api = nullptr;
  PyCFunction is_negated;        // its method that says whether a tensor is a view that negates its memory
  PyCFunction storage_offset;    // its method that says where in its storage a tensor begins, in elements
  std::vector<PyObject*> plain;  // types whose values lie at their address; other subclasses may wrap a tensor
};

inline Library& library() {
  static auto* it = new Library;
  return *it;
}

inline PyCFunction method_of_c(const nb::object& method, const char* name) {
  if (!PyCFunction_Check(method.ptr()) || PyCFunction_GetFlags(method.ptr()) != METH_NOARGS)
    throw std::runtime_error(std::string("expected ") + name + " to be a method of C without arguments");
  return PyCFunction_GetFunction(method.ptr());
}

inline void use_library(const nb::object& exchange, const nb::object& is_negated, const nb::object& storage_offset,
                        const nb::tuple& plain) {
  auto* api = static_cast<const DLPackExchangeAPI*>(PyCapsule_GetPointer(exchange.ptr(), "dlpack_exchange_api"));
  if (!api) throw nb::python_error();
  if (api->header.version.major != DLPACK_MAJOR_VERSION || !api->dltensor_from_py_object_no_sync) {
    throw std::runtime_error("expected the exchange API of DLPack 1.3");
  }
  library().is_negated = method_of_c(is_negated, "is_negated");
  library().storage_offset = method_of_c(storage_offset, "storage_offset");
  library().api = api;
  library().plain.clear();
  for (const nb::handle type : plain) library().plain.push_back(nb::borrow(type).release().ptr());
}

inline bool is_plain(nb::handle object) {
  const auto& plain = library().plain;
  return std::find(plain.begin(), plain.end(), reinterpret_cast<PyObject*>(Py_TYPE(object.ptr()))) != plain.end();
}

inline bool is_empty(const DLTensor& t) { return std::find(t.shape, t.shape + t.ndim, 0) != t.shape + t.ndim; }
// An array without elements need not have an address.
inline bool has_values(const DLTensor& t) { return t.data || is_empty(t); }

// Whether a tensor is a view of a storage that has no memory: its address is then the offset of the view alone. Memory
// lies higher than any offset; where an address is as low as one, the tensor is asked where it begins in its storage.
inline bool begins_at_null(nb::handle tensor, const DLTensor& t) {
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(t.data)) + t.byte_offset;
  if (address >> 40 != 0 || is_empty(t)) return false;
  const nb::object offset = nb::steal(library().storage_offset(tensor.ptr(), nullptr));
  if (!offset.is_valid()) throw nb::python_error();
  return address == PyLong_AsUnsignedLongLong(offset.ptr()) * (t.dtype.bits / 8);
}

// Anything but a tensor with its values in memory (None; fake, sparse or zero tensors, the device "meta", a storage
// that was freed) reads as a tensor of no device, which never fits.
inline DLTensor read_tensor(nb::handle object) {
  DLTensor t{};
  if (!library().api || library().api->dltensor_from_py_object_no_sync(object.ptr(), &t) != 0) {
    PyErr_Clear();
    return {};
  }
  if (!has_values(t) || begins_at_null(object, t)) return {};
  t.data = static_cast<char*>(t.data) + t.byte_offset;
  return t;
}

inline bool is_negated(nb::handle tensor) {
  PyObject* answer = library().is_negated(tensor.ptr(), nullptr);
  if (!answer) throw nb::python_error();
  Py_DECREF(answer);  // True and False are always alive
  return answer == Py_True;
}

// Whether the axes from `first` on lie in one piece.
inline bool is_contiguous(const DLTensor& t, int first = 0) {
  std::int64_t stride = 1;
  if (is_empty(t)) return true;
  for (int axis = t.ndim - 1; axis >= first; --axis) {
    if (t.shape[axis] > 1 && t.strides[axis] != stride) return false;
    stride *= t.shape[axis];
  }
  return true;
}

// A shape of a few axes.
class Shape {
 public:
  static constexpr int kMost = 5;
  Shape(std::initializer_list<Index> axes) : size_(static_cast<int>(axes.size())) {
    std::copy(axes.begin(), axes.end(), axes_);
  }
  void push_back(Index axis) { axes_[size_++] = axis; }
  int size() const { return size_; }
  Index* data() { return axes_; }
  const Index* begin() const { return axes_; }
  const Index* end() const { return axes_ + size_; }

 private:
  Index axes_[kMost];
  int size_;
};

inline std::string shown(const Index* begin, const Index* end) {
  std::string list;
  for (; begin != end; ++begin) (list += list.empty() ? "" : ", ") += std::to_string(*begin);
  return "(" + list + ")";
}
inline std::string type_name(DLDataType type) {
  const char* const kinds[] = {"int", "uint", "float", "an opaque type of bits ", "bfloat", "complex"};
  if (type == kBool) return "bool";
  return (type.code < std::size(kinds) ? kinds[type.code] : "a type of bits ") + std::to_string(type.bits);
}

inline std::string described(const DLTensor& t) {
  if (t.device.device_type != kDLCPU) return "no array in memory";
  return type_name(t.dtype) + " " + shown(t.shape, t.shape + t.ndim);
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

// From this many multiply-adds on, about 10 us, other threads of Python may run meanwhile: taking the interpreter back
// from one of them takes as long.
inline constexpr Index kWorthOthers = 400'000;

// Does work of the given number of multiply-adds.
template <class Work>
void run_unlocked(Index multiply_adds, Work work) {
  if (multiply_adds < kWorthOthers) return work();
  const nb::gil_scoped_release unlocked;
  work();
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

}  // namespace unrolled
