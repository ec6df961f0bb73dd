// SPDX-License-Identifier: Apache-2.0
// An array of NumPy, read as NumPy's own macros read it: asking it for DLPack takes longer than a step of a small
// layer.
#pragma once
#include <algorithm>
#include <cstdint>

#include "arrays.h"

namespace unrolled {

// The fields that every extension built on NumPy's C interface reads: PyArrayObject_fields of its ndarraytypes.h.
struct NumpyArray {
  PyObject_HEAD;
  const char* data;
  int ndim;
  const std::intptr_t *shape, *strides;
  PyObject *base, *dtype;
  int flags;
};

class Numpy {
 public:
  // Made with the module: the first step might come while another thread holds the interpreter.
  static const Numpy& instance() {
    static const auto* it = new Numpy;  // never destroyed: it holds objects of Python
    return *it;
  }

  // The numbers of an array of exactly this type and shape that lies in one piece; null for anything else, which DLPack
  // may still be able to read.
  template <class Element>
  const Element* numbers(nb::handle object, const Shape& shape) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) != type_) return nullptr;
    const auto& array = *reinterpret_cast<const NumpyArray*>(object.ptr());
    const bool fits = array.dtype == dtype_of<Element>() && (array.flags & kPlain) == kPlain &&
                      array.ndim == shape.size() && std::equal(shape.begin(), shape.end(), array.shape);
    return fits ? reinterpret_cast<const Element*>(array.data) : nullptr;
  }

 private:
  static constexpr int kPlain = 0x0001 | 0x0100;  // NPY_ARRAY_C_CONTIGUOUS and NPY_ARRAY_ALIGNED

  Numpy() {
    const nb::module_ numpy = nb::module_::import_("numpy");
    const auto dtype = [&](const char* name) { return numpy.attr("dtype")(name).release().ptr(); };
    int64_ = dtype("int64"), float32_ = dtype("float32"), float64_ = dtype("float64");
    const nb::object array = numpy.attr("zeros")(3, "float32");  // the fields are believed if they say so of this one
    const auto& seen = *reinterpret_cast<const NumpyArray*>(array.ptr());
    const auto address = nb::cast<std::uintptr_t>(array.attr("__array_interface__")["data"][0]);
    if (reinterpret_cast<std::uintptr_t>(seen.data) == address && seen.ndim == 1 && seen.dtype == float32_)
      type_ = nb::object(numpy.attr("ndarray")).release().ptr();
  }

  template <class Element>
  PyObject* dtype_of() const {
    constexpr DLDataType type = kTypeOf<Element>;
    static_assert(type == kInt64 || type == kFloat32 || type == kFloat64);
    return type == kInt64 ? int64_ : type == kFloat32 ? float32_ : float64_;
  }

  PyObject *type_ = nullptr, *int64_, *float32_, *float64_;
};

}  // namespace unrolled
