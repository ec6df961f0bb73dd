// SPDX-License-Identifier: Apache-2.0
// The named fields of the border.  C++ reads Python's arguments by these tables and exports their names, so a field is
// named, ordered and made optional in one place.
//
// Two kinds of table: structs of kernels.h by address, which unrolled/core/structs.py builds from keywords as a row of
// integers; and tuples of tensors, the named tuples of unrolled/core/fields.py.
#pragma once
#include <array>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels.h"

namespace unrolled {

template <class Names>
std::string listed(const Names& names) {
  std::string list;
  for (const std::string_view name : names) (list += list.empty() ? "" : ", ") += name;
  return list;
}

// Structs by address.

template <class Struct, class Member>
struct Field {
  std::string_view name;
  Member Struct::* member;
  bool required;
};

template <class Struct, class Member>
constexpr Field<Struct, Member> required(std::string_view name, Member Struct::* member) {
  return {name, member, true};
}

// May be left out: null, zero or false then.
template <class Struct, class Member>
constexpr Field<Struct, Member> optional(std::string_view name, Member Struct::* member) {
  return {name, member, false};
}

template <class Struct>
struct Fields;

// The recurrences, their number and their gradients come in lists of their own.
template <class Real>
struct Fields<Call<Real>> {
  using S = Call<Real>;
  static constexpr std::string_view name = "Call";
  static constexpr std::tuple table{
      required("cell", &S::cell),
      required("T", &S::T),
      required("B", &S::B),
      required("I", &S::I),
      required("H", &S::H),
      required("P", &S::P),
      optional("lengths", &S::lengths),
      optional("batch_sizes", &S::batch_sizes),
      optional("reset", &S::reset),
      optional("save", &S::save),
      optional("segment", &S::segment),
  };
};

template <class Real>
struct Fields<Recurrence<Real>> {
  using S = Recurrence<Real>;
  static constexpr std::string_view name = "Recurrence";
  static constexpr std::tuple table{
      required("weights", &S::weights), optional("x", &S::x),         optional("symbols", &S::symbols),
      optional("h_0", &S::h_0),         optional("c_0", &S::c_0),     optional("h_reset", &S::h_reset),
      optional("c_reset", &S::c_reset), required("y", &S::y),         required("h_n", &S::h_n),
      optional("c_n", &S::c_n),         optional("gates", &S::gates), optional("cells", &S::cells),
      optional("reverse", &S::reverse),
  };
};

template <class Real>
struct Fields<Gradients<Real>> {
  using S = Gradients<Real>;
  static constexpr std::string_view name = "Gradients";
  static constexpr std::tuple table{
      optional("dy", &S::dy),           optional("dh_n", &S::dh_n),           optional("dc_n", &S::dc_n),
      optional("dx", &S::dx),           optional("add_to_dx", &S::add_to_dx), optional("dh_0", &S::dh_0),
      optional("dc_0", &S::dc_0),       optional("dh_reset", &S::dh_reset),   optional("dc_reset", &S::dc_reset),
      optional("weights", &S::weights),
  };
};

template <class Real>
struct Fields<Linear<Real>> {
  using S = Linear<Real>;
  static constexpr std::string_view name = "Linear";
  static constexpr std::tuple table{
      required("W", &S::W), required("b", &S::b), required("x", &S::x), required("y", &S::y),
      required("B", &S::B), required("H", &S::H), required("V", &S::V),
  };
};

template <class Real>
struct Fields<HeadPass<Real>> {
  using S = HeadPass<Real>;
  static constexpr std::string_view name = "HeadPass";
  static constexpr std::tuple table{
      required("W", &S::W),   required("b", &S::b),   required("x", &S::x),   required("targets", &S::targets),
      required("dx", &S::dx), required("dW", &S::dW), required("db", &S::db), required("N", &S::N),
      required("H", &S::H),   required("V", &S::V),
  };
};

// A field's kind, and how many integers it takes.
struct FieldKind {
  std::string_view name;
  std::size_t integers;
};

template <class Struct, class Member>
constexpr FieldKind kind_of(const Field<Struct, Member>&) {
  if constexpr (std::is_same_v<Member, bool>) return {"flag", 1};
  if constexpr (std::is_pointer_v<Member>) return {"address", 1};
  if constexpr (requires(Member m) { m.time_stride; }) return {"rows", 3};  // address, time_stride, batch_stride
  if constexpr (requires(Member m) { m.W_ih; }) return {"weights", std::size(kWeightFields<float>)};  // an address each
  return {"number", 1};
}

using Integers = std::vector<Index>;

template <class Struct>
constexpr std::size_t kIntegers =
    std::apply([](const auto&... field) { return (kind_of(field).integers + ...); }, Fields<Struct>::table);

// The cell of a number that Python gave.
inline CellKind cell_of(Index number) {
  if (number >= 0 && number < kCellCount) return static_cast<CellKind>(number);
  throw std::invalid_argument("cell is " + std::to_string(number) + ", expected 0 to " +
                              std::to_string(kCellCount - 1));
}

// Reads integers from front to back.
class Reader {
 public:
  explicit Reader(const Integers& integers) : at_(integers.data()) {}

  void read(Index& to) { to = *at_++; }
  void read(CellKind& to) { to = cell_of(*at_++); }
  void read(bool& to) { to = *at_++ != 0; }
  template <class Element>
  void read(Element*& to) {
    to = reinterpret_cast<Element*>(static_cast<std::uintptr_t>(*at_++));
  }
  template <class Element>
  void read(Rows<Element>& to) {
    read(to.data), read(to.time_stride), read(to.batch_stride);
  }
  template <class Real>
  void read(Weights<Real>& to) {
    for (const WeightField<Real>& field : kWeightFields<Real>) read(to.*field.member);
  }

 private:
  const Index* at_;
};

// A struct from its integers.  Throws std::invalid_argument if there are more or fewer than its fields take.
template <class Struct>
Struct read_struct(const Integers& integers) {
  if (integers.size() != kIntegers<Struct>) {
    const std::string names =
        std::apply([](const auto&... field) { return listed(std::array{field.name...}); }, Fields<Struct>::table);
    throw std::invalid_argument(std::string(Fields<Struct>::name) + ": " + std::to_string(integers.size()) +
                                " integers, expected " + std::to_string(kIntegers<Struct>) + " for the fields " +
                                names);
  }
  Struct filled{};
  Reader reader(integers);
  std::apply([&](const auto&... field) { (reader.read(filled.*field.member), ...); }, Fields<Struct>::table);
  return filled;
}

// Tuples of tensors.

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

inline constexpr TupleFields<9> kGradientsFields{
    "GradientTensors", {"dy", "dh_n", "dc_n", "dx", "dh_0", "dc_0", "weights", "dh_reset", "dc_reset"}};

inline constexpr auto kWeightsFields = [] {
  TupleFields<std::size(kWeightFields<float>)> found{"Weights", {}};
  for (std::size_t k = 0; k < found.fields.size(); ++k) found.fields[k] = kWeightFields<float>[k].name;
  return found;
}();

}  // namespace unrolled
