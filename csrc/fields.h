// SPDX-License-Identifier: Apache-2.0
// The named fields of the border: tuples of arrays, the named tuples of unrolled/core/fields.py.  C++ reads them by
// these tables and exports their names, so a field is named and ordered in one place.
#pragma once
#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernels.h"

namespace unrolled {

template <class Names>
std::string listed(const Names& names) {
  std::string list;
  for (const std::string_view name : names) (list += list.empty() ? "" : ", ") += name;
  return list;
}

// The cell of a number that Python gave.
inline CellKind cell_of(Index number) {
  if (number >= 0 && number < kCellCount) return static_cast<CellKind>(number);
  throw std::invalid_argument("cell is " + std::to_string(number) + ", expected 0 to " +
                              std::to_string(kCellCount - 1));
}

template <std::size_t n>
struct TupleFields {
  std::string_view name;
  std::array<std::string_view, n> fields;

  constexpr int place_of(std::string_view field) const {
    for (std::size_t k = 0; k < n; ++k) {
      if (fields[k] == field) return static_cast<int>(k);
    }
    throw std::logic_error("no such field");  // which makes a constant expression ill-formed
  }
};

inline constexpr TupleFields<4> kLayoutFields{"Layout", {"batch_first", "lengths", "batch_sizes", "reset"}};

inline constexpr TupleFields<11> kLayerFields{
    "LayerTensors", {"x", "h_0", "c_0", "weights", "y", "h_n", "c_n", "gates", "cells", "h_reset", "c_reset"}};

inline constexpr TupleFields<10> kGradientsFields{
    "GradientTensors", {"dy", "dh_n", "dc_n", "dx", "dh_0", "dc_0", "weights", "dh_reset", "dc_reset", "sums"}};

inline constexpr auto kWeightsFields = [] {
  TupleFields<std::size(kWeightFields<float>)> found{"Weights", {}};
  for (std::size_t k = 0; k < found.fields.size(); ++k) found.fields[k] = kWeightFields<float>[k].name;
  return found;
}();

// Structs whose arrays are all whole: each has its shape in letters, and a letter is the same length everywhere.

// A head on rows of its own: y = W x + b.
template <class Real>
struct LinearPass {
  const Real* W;      // (V, H)
  const Real* b;      // (V)
  const Real* x;      // (N, H)
  Computed<Real>* y;  // (N, V), out
  Index N, H, V;
};

template <class Struct, class Element>
struct ArrayField {
  std::string_view name;
  Element* Struct::* member;  // const: read; else written
  std::string_view shape;
};
template <class Struct, class Element>
ArrayField(std::string_view, Element* Struct::*, std::string_view) -> ArrayField<Struct, Element>;

template <class Struct>
using Letter = std::pair<char, Index Struct::*>;

template <class Struct>
struct Fields;

template <class Real>
struct Fields<Linear<Real>> {
  using S = Linear<Real>;
  static constexpr std::string_view name = "Linear";
  static constexpr std::array letters{Letter<S>{'H', &S::H}, Letter<S>{'V', &S::V}};
  static constexpr std::tuple table{
      ArrayField{"W", &S::W, "VH"},
      ArrayField{"b", &S::b, "V"},
  };
};

template <class Real>
struct Fields<LinearPass<Real>> {
  using S = LinearPass<Real>;
  static constexpr std::string_view name = "LinearPass";
  static constexpr std::array letters{Letter<S>{'N', &S::N}, Letter<S>{'H', &S::H}, Letter<S>{'V', &S::V}};
  static constexpr std::tuple table{
      ArrayField{"W", &S::W, "VH"},
      ArrayField{"b", &S::b, "V"},
      ArrayField{"x", &S::x, "NH"},
      ArrayField{"y", &S::y, "NV"},
  };
};

template <class Real>
struct Fields<HeadPass<Real>> {
  using S = HeadPass<Real>;
  static constexpr std::string_view name = "HeadPass";
  static constexpr std::array letters{Letter<S>{'N', &S::N}, Letter<S>{'H', &S::H}, Letter<S>{'V', &S::V}};
  static constexpr std::tuple table{
      ArrayField{"W", &S::W, "VH"},   ArrayField{"b", &S::b, "V"},
      ArrayField{"x", &S::x, "NH"},   ArrayField{"targets", &S::targets, "N"},
      ArrayField{"dx", &S::dx, "NH"}, ArrayField{"dW", &S::dW, "VH"},
      ArrayField{"db", &S::db, "V"},
  };
};

template <class Real>
struct Fields<AdamStep<Real>> {
  using S = AdamStep<Real>;
  static constexpr std::string_view name = "AdamStep";
  static constexpr std::array letters{Letter<S>{'P', &S::P}};
  static constexpr std::tuple table{
      ArrayField{"values", &S::values, "P"},
      ArrayField{"gradients", &S::gradients, "P"},
      ArrayField{"exp_avg", &S::exp_avg, "P"},
      ArrayField{"exp_avg_sq", &S::exp_avg_sq, "P"},
  };
};

template <class Struct>
constexpr auto kFieldsOf = std::apply(
    [](const auto&... field) { return TupleFields<sizeof...(field)>{Fields<Struct>::name, {field.name...}}; },
    Fields<Struct>::table);

}  // namespace unrolled
