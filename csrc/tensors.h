// SPDX-License-Identifier: Apache-2.0
// Arrays from Python: tensors of a library that offers DLPack's exchange API (torch), and numpy's arrays.  Everything
// the kernels rely on is checked here, when the address of an array is read; a call whose arrays do not fit is refused,
// and unrolled/nn/fit.py has the error messages.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "dlpack/dlpack.h"
#include "fields.h"
#include "workspace.h"

namespace unrolled {

namespace nb = nanobind;

constexpr bool operator==(const DLDataType& a, const DLDataType& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
inline constexpr DLDataType kInt64{kDLInt, 64, 1}, kFloat32{kDLFloat, 32, 1}, kFloat64{kDLFloat, 64, 1},
    kBFloat16{kDLBfloat, 16, 1}, kBool{kDLBool, 8, 1};
template <class Element>
constexpr DLDataType kTypeOf = std::is_same_v<Element, Index>          ? kInt64
                               : std::is_same_v<Element, std::uint8_t> ? kBool
                               : std::is_same_v<Element, BFloat16>     ? kBFloat16
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

inline bool is_empty(const DLTensor& t) { return std::find(t.shape, t.shape + t.ndim, 0) != t.shape + t.ndim; }
// Without elements there need not be an address.
inline bool has_values(const DLTensor& t) { return t.data || is_empty(t); }

// Anything but a tensor with its values in memory (None; fake, sparse or zero tensors, the device "meta", a storage
// that was freed) reads as a tensor of no device, which never fits.
inline DLTensor read_tensor(nb::handle object) {
  DLTensor t{};
  if (!library().api || library().api->dltensor_from_py_object_no_sync(object.ptr(), &t) != 0) {
    PyErr_Clear();
    return {};
  }
  if (!has_values(t)) return {};
  t.data = static_cast<char*>(t.data) + t.byte_offset;
  return t;
}

inline bool is_negated(nb::handle tensor) {
  PyObject* answer = PyObject_CallFunctionObjArgs(library().is_negated.ptr(), tensor.ptr(), nullptr);
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

// A shape of up to five axes.
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
  Index axes_[5];
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

// Which arrays a call takes.
enum class Take {
  plain,    // plain tensors as they lie; one that would have to be copied does not fit
  tensors,  // tensors; what lies otherwise in memory than the kernels read it is copied
  kept,     // the same, and numpy's arrays; all are kept alive as long as the reader
};

// Reads the arrays of a call; `fits` says whether all so far had the expected type and shape, and lie in memory such
// that nothing which is written overlaps anything else.
template <class Real>
class Tensors {
 public:
  explicit Tensors(Take take = Take::tensors) : take_(take) {}
  Tensors(const Tensors&) = delete;

  bool fits() {
    if (!checked_) fits_ = fits_ && disjoint(), checked_ = true;
    return fits_;
  }
  bool fits_so_far() const { return fits_; }
  void require(bool good) { fits_ = fits_ && good; }

  struct Array : DLTensor {
    bool of_library;
  };
  Array read(nb::handle object, bool writes = false) {
    const DLTensor t = read_tensor(object);
    if (take_ != Take::kept) return {t, true};
    objects_.push_back(nb::borrow(object));
    if (t.device.device_type == kDLCPU) return {t, true};
    return {writes ? read_numpy(object, writable_) : read_numpy(object, arrays_), false};
  }

  // An array whose axes after the first few lie in one piece: its address, and the strides of these few.
  template <class Element>
  struct Strided {
    Element* data = nullptr;
    Index strides[3]{};
  };
  template <class Element>
  Strided<Element> strided(nb::handle object, const Shape& shape, int leading) {
    using Value = std::remove_const_t<Element>;
    constexpr bool writes = !std::is_const_v<Element>;
    const Array t = read(object, writes);
    Strided<Element> found;
    if (!expect(t, kTypeOf<Value>, shape)) return found;
    const bool negated = !writes && t.of_library && is_negated(object);
    const bool aligned = reinterpret_cast<std::uintptr_t>(t.data) % sizeof(Value) == 0;
    if (negated || !aligned || !is_contiguous(t, leading)) {
      require(!writes && take_ != Take::plain);
      if (!fits_) return found;
      found.data = copied<Value>(t, negated);
      Index stride = 1;
      for (int axis = t.ndim - 1; axis >= 0; stride *= t.shape[axis--]) {
        if (axis < leading) found.strides[axis] = stride;
      }
      return found;
    }
    found.data = static_cast<Element*>(t.data);
    std::copy_n(t.strides, leading, found.strides);
    if (take_ != Take::plain) note<Value>(t, leading, writes);
    return found;
  }

  // Address of a whole array to read, or (Element not const) to write to; null for None.
  template <class Element = const Real>
  Element* whole(nb::handle object, const Shape& shape) {
    if (object.is_none()) return nullptr;
    require(take_ != Take::plain || is_plain(object));
    return fits_ ? strided<Element>(object, shape, 0).data : nullptr;
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
      found.*field.member = whole<Element>(tensor, shape);
      if (std::is_const_v<Element>) require(!(field.required && tensor.is_none()));
    }
    if (std::is_const_v<Element>) require(found.W_hr || letters.P == letters.H);
    return found;
  }

  bool expect(const DLTensor& t, DLDataType type, const Shape& shape) {
    const bool good = t.device.device_type == kDLCPU && t.dtype == type && t.ndim == shape.size() &&
                      std::equal(shape.begin(), shape.end(), t.shape);
    require(good);
    return good;
  }

  // The array that starts here is read before it is written to.
  void may_be_overwritten(const void* start) {
    std::erase_if(spans_, [&](const Span& span) { return !span.writes && span.begin == start; });
  }

 private:
  struct Span {
    const char *begin, *end;
    bool writes;
  };

  template <class Array>
  static DLTensor read_numpy(nb::handle object, std::deque<Array>& held) {
    Array& array = held.emplace_back();
    if (!nb::try_cast(object, array, false) || !array.is_valid()) return {};  // None is cast to no array
    const nb::dlpack::dtype type = array.dtype();
    DLTensor t{};
    t.data = const_cast<void*>(static_cast<const void*>(array.data()));
    t.device = {static_cast<DLDeviceType>(array.device_type()), array.device_id()};
    t.ndim = static_cast<std::int32_t>(array.ndim());
    t.dtype = {type.code, type.bits, type.lanes};
    t.shape = const_cast<std::int64_t*>(array.shape_ptr());
    t.strides = const_cast<std::int64_t*>(array.stride_ptr());
    return has_values(t) ? t : DLTensor{};
  }

  // Nothing here starts a thread: a forked child of torch could not (docs/decisions/0004-threads.md).
  template <class Value>
  Value* copied(const DLTensor& t, bool negated) {
    Index n = 1;
    for (int axis = 0; axis < t.ndim; ++axis) n *= t.shape[axis];
    auto* const all = static_cast<Value*>(copies_.emplace_back(static_cast<std::size_t>(n) * sizeof(Value)).data());
    Index at[5]{};
    const char* from = static_cast<const char*>(t.data);
    for (Index k = 0; k < n; ++k) {
      std::memcpy(all + k, from, sizeof(Value));
      if (negated) all[k] = static_cast<Value>(-all[k]);
      for (int axis = t.ndim - 1; axis >= 0; --axis) {
        const Index step = t.strides[axis] * static_cast<Index>(sizeof(Value));
        from += step;
        if (++at[axis] < t.shape[axis]) break;
        from -= at[axis] * step;
        at[axis] = 0;
      }
    }
    return all;
  }

  // Remembers where an array lies.  One to write to must not have a place twice.
  template <class Value>
  void note(const DLTensor& t, int leading, bool writes) {
    if (is_empty(t)) return;
    Index begin = 0, end = 1, piece = 1;
    for (int axis = 0; axis < t.ndim; ++axis) {
      const Index last = (t.shape[axis] - 1) * t.strides[axis];
      (last < 0 ? begin : end) += last;
      if (axis >= leading) piece *= t.shape[axis];
    }
    if (writes) {
      Index order[3]{0, 1, 2};
      std::sort(order, order + leading, [&](Index a, Index b) { return t.strides[a] < t.strides[b]; });
      for (int k = 0; k < leading; ++k) {
        const Index n = t.shape[order[k]], stride = t.strides[order[k]];
        if (n == 1) continue;
        require(stride >= piece);
        piece = (n - 1) * stride + piece;
      }
    }
    const char* data = static_cast<const char*>(t.data);
    constexpr Index bytes = sizeof(Value);
    spans_.push_back({data + begin * bytes, data + end * bytes, writes});
  }

  bool disjoint() {
    const auto read = std::partition(spans_.begin(), spans_.end(), [](const Span& span) { return span.writes; });
    std::sort(spans_.begin(), read, [](const Span& a, const Span& b) { return a.begin < b.begin; });
    const auto overlaps = [](const Span& a, const Span& b) { return a.end > b.begin; };
    if (std::adjacent_find(spans_.begin(), read, overlaps) != read) return false;
    return std::all_of(read, spans_.end(), [&](const Span& span) {
      const auto after = std::partition_point(spans_.begin(), read, [&](const Span& w) { return w.end <= span.begin; });
      return after == read || after->begin >= span.end;
    });
  }

  Take take_;
  bool fits_ = true, checked_ = false;
  std::vector<Span> spans_;
  std::deque<Lease> copies_;
  std::vector<nb::object> objects_;
  std::deque<nb::ndarray<nb::ro>> arrays_;
  std::deque<nb::ndarray<>> writable_;
};

// A struct from a named tuple of its arrays; their shapes are checked against each other by the letters of its table.
template <class Struct, class Real>
Struct read_struct(Tensors<Real>& in, nb::handle tuple) {
  using Table = Fields<Struct>;
  using Given = Named<kFieldsOf<Struct>>;
  const Given given(tuple);
  Struct filled{};
  for (const auto& [letter, member] : Table::letters) filled.*member = -1;
  std::size_t k = 0;
  const auto read = [&]<class Element>(const ArrayField<Struct, Element>& field) {
    const nb::handle object = given[typename Given::Place(k++)];
    const DLTensor t = in.read(object, !std::is_const_v<Element>);
    Shape shape{};
    for (std::size_t axis = 0; axis < field.shape.size(); ++axis) {
      for (const auto& [letter, member] : Table::letters) {
        if (letter != field.shape[axis]) continue;
        if (filled.*member < 0 && static_cast<int>(axis) < t.ndim) filled.*member = t.shape[axis];
        shape.push_back(filled.*member);
      }
    }
    filled.*field.member = in.template whole<Element>(object, shape);
    if (in.fits_so_far() && !object.is_none()) return;
    constexpr DLDataType type = kTypeOf<std::remove_const_t<Element>>;
    std::string letters;
    for (const char letter : field.shape) ((letters += letters.empty() ? "" : ", ") += letter);
    throw std::invalid_argument(std::string(field.name) + " of " + std::string(Table::name) + " is " + described(t) +
                                ", expected " + type_name(type) + " (" + letters +
                                ") = " + shown(shape.begin(), shape.end()) +
                                (std::is_const_v<Element> ? "" : ", contiguous, to write to"));
  };
  std::apply([&](const auto&... field) { (read(field), ...); }, Table::table);
  if (!in.fits()) throw std::invalid_argument(std::string(Table::name) + ": an array to write to overlaps another");
  return filled;
}

}  // namespace unrolled
