// SPDX-License-Identifier: Apache-2.0
// The arrays of a call, checked: torch's tensors, and numpy's arrays.  Everything the kernels rely on is checked here,
// when the address of an array is read; a call whose arrays do not fit is refused, and unrolled/nn/fit.py has the error
// messages.
#pragma once
#include <cstring>
#include <list>
#include <vector>

#include "arrays.h"
#include "workspace.h"

namespace unrolled {

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
  tensors,  // tensors; one laid out differently from how the kernels read it is copied
  arrays,   // the same, and numpy's arrays
};

// Reads the arrays of a call; `fits` says whether all so far had the expected type and shape, and lie in memory so
// that nothing written overlaps anything else.
template <class Real>
class Tensors {
 public:
  explicit Tensors(Take take = Take::tensors) : take_(take) {
    if (take != Take::plain) spans_.reserve(kMostOfOneLayer);
  }
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
    if (take_ != Take::arrays) return {read_tensor(object), true};
    objects_.push_back(nb::borrow(object));
    if (!is_plain(object)) {  // an array of numpy comes first: the library's refusal of one takes a microsecond
      const DLTensor array = read_numpy(object, writes);
      if (array.device.device_type == kDLCPU) return {array, false};
    }
    return {read_tensor(object), true};
  }
  Take taken() const { return take_; }

  // An array whose axes after the first few lie in one piece: its address, and the strides of these few.
  template <class Element>
  struct Strided {
    Element* data = nullptr;
    Index strides[3]{};
  };
  template <class Element>
  Strided<Element> strided(nb::handle object, const Shape& shape, int leading) {
    return strided<Element>(object, read(object, !std::is_const_v<Element>), shape, leading);
  }
  template <class Element>
  Strided<Element> strided(nb::handle object, const Array& t, const Shape& shape, int leading) {
    using Value = std::remove_const_t<Element>;
    constexpr bool writes = !std::is_const_v<Element>;
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

  // The lengths of a layer's weights, taken from one direction; all others must agree.
  Letters letters(CellKind cell, nb::handle weights) {
    const Named<kWeightsFields> given(weights);
    return letters(cell, given["W_ih"], given["W_hh"], given["W_hr"]);
  }
  Letters letters(CellKind cell, nb::handle input, nb::handle hidden, nb::handle W_hr) {
    const DLTensor W_ih = read(input), W_hh = read(hidden);
    const DLTensor projection = W_hr.is_none() ? W_hh : read(W_hr);
    require(W_ih.ndim == 2 && W_hh.ndim == 2 && projection.ndim == 2);
    if (!fits_) return {};
    const Index H = projection.shape[1], P = W_hh.shape[1];
    require(H > 0 && P > 0);
    return {gate_count(cell) * H, W_ih.shape[1], P, H};
  }

  // The weights of one direction of a layer, which has the weights of its cell and no others.
  Weights<const Real> weights_of(CellKind cell, nb::handle tuple, const Letters& letters) {
    const auto found = weights<const Real>(tuple, letters);
    require(!found.W_hr || has_cell_state(cell));
    require(!found.p || cell == CellKind::lstm_peephole);
    return found;
  }

  // Its weights with one axis; those with two are not read.
  Weights<const Real> vectors_of(CellKind cell, nb::handle tuple, const Letters& letters) {
    const auto found = weights<const Real>(tuple, letters, /*vectors=*/true);
    require(!found.p || cell == CellKind::lstm_peephole);
    return found;
  }

  // The weights of one direction to read, or (Element not const) their gradients to write.
  template <class Element>
  Weights<Element> weights(nb::handle tuple, const Letters& letters, bool vectors = false) {
    using Fields = Named<kWeightsFields>;
    const Fields given(tuple);
    Weights<Element> found{};
    for (std::size_t k = 0; k < std::size(kWeightFields<Element>); ++k) {
      const WeightField<Element>& field = kWeightFields<Element>[k];
      if (vectors && field.shape[1].letter != Axis::none) continue;
      Shape shape{letters[field.shape[0]]};
      if (field.shape[1].letter != Axis::none) shape.push_back(letters[field.shape[1]]);
      const nb::handle tensor = given[typename Fields::Place(k)];
      found.*field.member = whole<Element>(tensor, shape);
      if (std::is_const_v<Element>) require(!(field.required && tensor.is_none()));
    }
    if (std::is_const_v<Element> && !vectors) require(found.W_hr || letters.P == letters.H);
    return found;
  }

  // A description of weights.
  std::string described(nb::handle weights) {
    const Named<kWeightsFields> given(weights);
    std::string words;
    for (std::size_t k = 0; k < kWeightsFields.fields.size(); ++k) {
      const nb::handle w = given[Named<kWeightsFields>::Place(k)];
      if (w.is_none()) continue;
      (words += words.empty() ? "" : ", ") += kWeightsFields.fields[k];
      words += " " + unrolled::described(read(w));
    }
    return words;
  }

  bool expect(const DLTensor& t, DLDataType type, const Shape& shape) {
    const bool good = t.device.device_type == kDLCPU && t.dtype == type && t.ndim == shape.size() &&
                      std::equal(shape.begin(), shape.end(), t.shape);
    require(good);
    return good;
  }

 private:
  struct Span {
    const char *begin, *end;
    bool writes;
  };

  DLTensor read_numpy(nb::handle object, bool writes) {
    nb::ndarray<nb::ro>& array = arrays_.emplace_back();
    if (nb::ndarray<> writable; writes && !nb::try_cast(object, writable, false)) return {};
    if (!nb::try_cast(object, array, false) || !array.is_valid()) return {};  // None is cast to no array
    const nb::dlpack::dtype type = array.dtype();
    DLTensor t{};
    t.data = const_cast<void*>(static_cast<const void*>(array.data()));
    t.device = {static_cast<DLDeviceType>(array.device_type()), array.device_id()};
    t.ndim = static_cast<std::int32_t>(array.ndim());
    t.dtype = {type.code, type.bits, type.lanes};
    if (std::is_same_v<Real, BFloat16> && t.dtype == kUInt16) t.dtype = kBFloat16;  // which numpy does not have
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
    const Index inner = t.ndim > 0 ? t.shape[t.ndim - 1] : 1;
    const Index apart = t.ndim > 0 ? t.strides[t.ndim - 1] * static_cast<Index>(sizeof(Value)) : 0;
    for (Index k = 0; k < n; k += inner) {
      for (Index j = 0; j < inner; ++j) std::memcpy(all + k + j, from + j * apart, sizeof(Value));
      for (int axis = t.ndim - 2; axis >= 0; --axis) {
        const Index step = t.strides[axis] * static_cast<Index>(sizeof(Value));
        from += step;
        if (++at[axis] < t.shape[axis]) break;
        from -= at[axis] * step;
        at[axis] = 0;
      }
    }
    for (Index k = 0; negated && k < n; ++k) all[k] = static_cast<Value>(-all[k]);
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

  static constexpr std::size_t kMostOfOneLayer = 32;  // arrays of a layer of one direction, with gradients

  Take take_;
  bool fits_ = true, checked_ = false;
  std::vector<Span> spans_;
  std::list<Lease> copies_;  // lists: they stay where they are, and an empty one takes no memory
  std::vector<nb::object> objects_;
  std::list<nb::ndarray<nb::ro>> arrays_;
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
    const DLTensor t = in.read(object);
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
