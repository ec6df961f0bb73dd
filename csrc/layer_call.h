// SPDX-License-Identifier: Apache-2.0
// A layer call from tensors.  Lengths, batch sizes and symbols are copied as they are checked: nobody can change them
// while the kernels read.
#pragma once
#include <functional>
#include <numeric>

#include "tensors.h"

namespace unrolled {

// Copies of one layer, of one shape and one layout: the tensors of each, with the weights of each direction, and the
// gradients of each or none (kLayoutFields, kLayerFields, kWeightsFields and kGradientsFields of fields.h).
template <class Real>
class LayerCall {
  using Compute = Computed<Real>;
  using Layout = Named<kLayoutFields>;
  using Layer = Named<kLayerFields>;
  using LayerGradients = Named<kGradientsFields>;

 public:
  Call<Real> call{};
  bool fits() { return in_.fits(); }

  LayerCall(CellKind cell, nb::handle layout, nb::handle copies, nb::handle gradients, bool save, Index segment,
            Take take = Take::tensors)
      : in_(take), has_c_(has_cell_state(cell)), backward_(length(gradients) > 0) {
    call.cell = cell;
    call.save = save;
    in_.require(segment >= 0 && (backward_ ? save : !save || segment == 0));
    const Layout given(layout);
    time_axis_ = given["batch_first"].ptr() == Py_True ? 1 : 0;
    const nb::handle reset = given["reset"];
    packed_ = !given["batch_sizes"].is_none();
    measure(Layer(item(copies, 0)), given["batch_sizes"]);
    if (!in_.fits_so_far()) return;
    call.segment = std::min(segment, std::max(call.T, Index{1}));
    read_lengths(given["lengths"]);
    if (!reset.is_none()) call.reset = rows<const std::uint8_t>(reset, {});
    const Index S = length(copies);
    recurrences_.reserve(static_cast<std::size_t>(S * D_));
    for (Index s = 0; s < S && in_.fits_so_far(); ++s) add_layer(Layer(item(copies, s)));
    for (Index s = 0, n = length(gradients); s < n && in_.fits_so_far(); ++s)
      add_gradients(LayerGradients(item(gradients, s)));
    call.recurrences = static_cast<Index>(recurrences_.size());
    call.recurrence = recurrences_.data();
    call.gradients = gradients_.empty() ? nullptr : gradients_.data();
    in_.require(gradients_.empty() || gradients_.size() == recurrences_.size());
  }
  LayerCall(const LayerCall&) = delete;

  // After the run: cell states that the kernels wrote in Compute go to tensors of Real.
  void finish() const {
    if constexpr (!std::is_same_v<Real, Compute>) {
      for (const Cells& cells : cells_) {
        for (std::size_t k = 0; cells.to && k < cells.values.size(); ++k) {
          cells.to[k] = static_cast<Real>(cells.values[k]);
        }
      }
    }
  }

  // Zeros where no kernel writes, y or dx past the end of a row, and in a dx that both directions add to.
  void clear() const {
    for (std::size_t k = 0; k < recurrences_.size(); k += static_cast<std::size_t>(D_)) {
      if (!backward_) {
        clear(recurrences_[k].y, D_ * call.P, false);
      } else if (gradients_[k].dx.data) {
        clear(gradients_[k].dx, call.I, gradients_[k].add_to_dx);
      }
    }
  }

 private:
  // T, B, I, H and P: the first copy sets them, and all others must agree.
  void measure(const Layer& layer, nb::handle batch_sizes) {
    const DLTensor x = in_.read(layer["x"]);
    symbols_ = x.dtype == kInt64;
    D_ = length(layer["weights"]);
    letters_ = in_.letters(call.cell, item(layer["weights"], 0));
    in_.require(x.ndim == (packed_ ? 1 : 2) + !symbols_ && D_ <= 2);
    if (!in_.fits_so_far()) return;
    call.I = letters_.I, call.P = letters_.P, call.H = letters_.H;
    N_ = x.shape[0];
    call.T = x.shape[packed_ ? 0 : time_axis_];
    call.B = x.shape[packed_ ? 0 : 1 - time_axis_];
    if (packed_) read_batch_sizes(batch_sizes);
  }

  void read_batch_sizes(nb::handle batch_sizes) {
    const DLTensor sizes = in_.read(batch_sizes);
    in_.require(sizes.ndim == 1);
    if (!in_.fits_so_far()) return;
    call.T = sizes.shape[0];
    const Index* given = in_.template whole<const Index>(batch_sizes, {call.T});
    if (!in_.fits_so_far()) return;
    batch_sizes_.assign(given, given + call.T);
    Index most = N_, left = N_;
    for (const Index n : batch_sizes_) {
      in_.require(0 <= n && n <= most && n <= left);
      if (!in_.fits_so_far()) return;
      most = n, left -= n;
    }
    in_.require(left == 0);
    call.B = call.T > 0 ? batch_sizes_[0] : 0;
    call.batch_sizes = batch_sizes_.data();
  }

  void read_lengths(nb::handle lengths) {
    const Index* given = in_.template whole<const Index>(lengths, {call.B});
    if (!given || !in_.fits_so_far()) return;
    lengths_.assign(given, given + call.B);
    for (const Index n : lengths_) in_.require(0 <= n && n <= call.T);
    call.lengths = lengths_.data();
  }

  Index steps(Index b) const { return call.lengths ? call.lengths[b] : call.T; }

  // The shape of an array of rows, each of the shape `of_row`, and where its axes of time and batch are.
  Shape by_rows(Shape shape, std::initializer_list<Index> of_row) const {
    for (const Index axis : packed_ ? Shape{N_} : time_axis_ ? Shape{call.B, call.T} : Shape{call.T, call.B})
      shape.push_back(axis);
    for (const Index axis : of_row) shape.push_back(axis);
    return shape;
  }
  int row_axes() const { return packed_ ? 1 : 2; }
  template <class Element>
  Rows<Element> rows_of(Element* data, const Index* strides) const {
    return {data, strides[packed_ ? 0 : time_axis_], strides[packed_ ? 0 : 1 - time_axis_]};
  }
  template <class Element>
  Rows<Element> rows(nb::handle tensor, std::initializer_list<Index> of_row) {
    const auto found = in_.template strided<Element>(tensor, by_rows({}, of_row), row_axes());
    return rows_of(found.data, found.strides);
  }

  // What forward writes and backward reads.
  template <class Element = Real>
  typename Tensors<Real>::template Strided<Element> result(nb::handle tensor, const Shape& shape, int leading) {
    if (!backward_) return in_.template strided<Element>(tensor, shape, leading);
    const auto read = in_.template strided<const Element>(tensor, shape, leading);
    return {const_cast<Element*>(read.data), {read.strides[0], read.strides[1], read.strides[2]}};
  }

  // The symbols of one copy, those inside the rows; the others are never read.
  Rows<const Index> checked_symbols(nb::handle x) {
    const Rows<const Index> given = rows<const Index>(x, {});
    if (!in_.fits_so_far()) return {};
    const Index T = packed_ ? 1 : call.T, B = packed_ ? N_ : call.B;
    std::vector<Index>& ids = ids_.emplace_back(static_cast<std::size_t>(std::max(T * B, Index{1})));
    bool good = true;
    for (Index t = 0; t < T; ++t) {
      for (Index b = 0; b < B; ++b) {
        if (!packed_ && t >= steps(b)) continue;
        const Index id =
            packed_ ? given.data[b * given.time_stride] : given.data[t * given.time_stride + b * given.batch_stride];
        good = good && 0 <= id && id < call.I;
        ids[static_cast<std::size_t>(t * B + b)] = id;
      }
    }
    in_.require(good);
    return {ids.data(), packed_ ? 1 : B, 1};
  }

  // Cell states that the kernels read in Compute, as arrays have them; tensors have them in Real.  Null for None.
  const Compute* cells_from(nb::handle tensor, const Shape& shape) {
    if (in_.taken() == Take::arrays) return in_.template whole<const Compute>(tensor, shape);
    const Real* given = in_.whole(tensor, shape);
    if constexpr (std::is_same_v<Real, Compute>) {
      return given;
    } else {
      if (!given) return nullptr;
      std::vector<Compute>& cells = cells_.emplace_back(Cells{nullptr, {}}).values;
      for (Index k = 0; k < size_of(shape); ++k) cells.push_back(static_cast<Compute>(given[k]));
      return cells.data();
    }
  }
  // ... and write, for `finish`.
  Compute* cells_to(nb::handle tensor, const Shape& shape) {
    if (in_.taken() == Take::arrays) return in_.template whole<Compute>(tensor, shape);
    Real* result = in_.template whole<Real>(tensor, shape);
    if constexpr (std::is_same_v<Real, Compute>) {
      return result;
    } else {
      return cells_.emplace_back(Cells{result, std::vector<Compute>(static_cast<std::size_t>(size_of(shape)))})
          .values.data();
    }
  }
  static Index size_of(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
  }

  // The array from one of its elements on; null where there is no array.
  template <class Element>
  static Element* part(Element* array, Index from) {
    return array ? array + from : nullptr;
  }

  // What forward saves for all directions.
  template <class Element>
  struct Saved {
    Rows<Element> rows;
    Index direction_stride = 0;

    Rows<Element> of(Index d) const {
      return {part(rows.data, d * direction_stride), rows.time_stride, rows.batch_stride};
    }
  };
  // An array of all rows, (D, *rows, *of_row).
  template <class Element>
  Saved<Element> saved_rows(nb::handle tensor, std::initializer_list<Index> of_row) {
    const auto found = result<Element>(tensor, by_rows({D_}, of_row), 1 + row_axes());
    return {rows_of(found.data, found.strides + 1), found.strides[0]};
  }
  // c at the edges of segments, (D, edges, B, Hp); there may be room for more edges than the kernels count.
  Saved<Compute> saved_edges(nb::handle tensor, Index Hp) {
    const Index edges = call.T > 0 ? (call.T - 1) / whole_blocks(call.segment, call.B) : 0;
    if (edges == 0) return {};
    const DLTensor t = in_.read(tensor);
    in_.require(t.ndim == 4 && t.shape[1] >= edges);
    if (!in_.fits_so_far()) return {};
    const auto found = result<Compute>(tensor, {D_, t.shape[1], call.B, Hp}, 2);
    return {{found.data, found.strides[1], Hp}, found.strides[0]};
  }

  // The weights of a direction, which has the same parts as the first.
  Weights<const Real> weights_of(nb::handle tuple) {
    const auto found = in_.weights_of(call.cell, tuple, letters_);
    in_.require(recurrences_.empty() || !found.W_hr == !recurrences_.front().weights.W_hr);
    return found;
  }

  void add_layer(const Layer& layer) {
    const nb::handle weights = layer["weights"], x = layer["x"];
    const Index D = D_, B = call.B, H = call.H, P = call.P, Hp = padded<Compute>(H);
    Recurrence<Real> one{};
    if (symbols_) {
      one.symbols = checked_symbols(x);
    } else {
      one.x = rows<const Real>(x, {call.I});
    }
    const Real* h_0 = in_.whole(layer["h_0"], {D, B, P});
    const Compute* c_0 = has_c_ ? cells_from(layer["c_0"], {D, B, H}) : nullptr;
    const Real* h_reset = in_.whole(layer["h_reset"], {D, B, P});
    in_.require(has_c_ || (layer["c_0"].is_none() && layer["c_reset"].is_none()));
    const Compute* c_reset = has_c_ ? cells_from(layer["c_reset"], {D, B, H}) : nullptr;
    const auto y = result(layer["y"], by_rows({}, {D * P}), row_axes());
    one.y = rows_of(y.data, y.strides);
    Real* h_n = nullptr;
    Compute* c_n = nullptr;
    if (!backward_) {
      in_.require(!layer["h_n"].is_none() && !(has_c_ && layer["c_n"].is_none()));
      h_n = in_.template whole<Real>(layer["h_n"], {D, B, P});
      if (has_c_) c_n = cells_to(layer["c_n"], {D, B, H});
    }
    Saved<Real> gates;
    Saved<Compute> cells;
    const Index slots = saved_slots(call.cell);
    if (call.save && !call.segment && slots > 0) gates = saved_rows<Real>(layer["gates"], {slots, Hp});
    if (call.save && !call.segment && has_c_) cells = saved_rows<Compute>(layer["cells"], {Hp});
    if (call.segment && has_c_) cells = saved_edges(layer["cells"], Hp);
    in_.require(length(weights) == D);
    for (Index d = 0; d < D && in_.fits_so_far(); ++d) {
      Recurrence<Real> r = one;
      r.weights = weights_of(item(weights, d));
      r.h_0 = part(h_0, d * B * P);
      r.c_0 = part(c_0, d * B * H);
      r.h_reset = part(h_reset, d * B * P);
      r.c_reset = part(c_reset, d * B * H);
      r.y.data = part(one.y.data, d * P);
      r.h_n = part(h_n, d * B * P);
      r.c_n = part(c_n, d * B * H);
      r.gates = gates.of(d);
      r.cells = cells.of(d);
      r.reverse = d == 1;
      recurrences_.push_back(r);
    }
  }

  void add_gradients(const LayerGradients& given) {
    const Index D = D_, B = call.B, H = call.H, P = call.P;
    const nb::handle dy = given["dy"], dx = given["dx"], weights = given["weights"], sums = given["sums"];
    Gradients<Real> one{};
    if (!dy.is_none()) one.dy = rows<const Real>(dy, {D * P});
    const Real* dh_n = in_.whole(given["dh_n"], {D, B, P});
    const Real* dc_n = has_c_ ? in_.whole(given["dc_n"], {D, B, H}) : nullptr;  // else an empty tensor may stand for it
    if (!dx.is_none()) one.dx = rows<Real>(dx, {call.I});
    one.add_to_dx = D == 2;
    Real* dh_0 = in_.template whole<Real>(given["dh_0"], {D, B, P});
    Real* dc_0 = has_c_ ? in_.template whole<Real>(given["dc_0"], {D, B, H}) : nullptr;
    Real* dh_reset = in_.template whole<Real>(given["dh_reset"], {D, B, P});
    Real* dc_reset = has_c_ ? in_.template whole<Real>(given["dc_reset"], {D, B, H}) : nullptr;
    for (Index d = 0; d < D && in_.fits_so_far(); ++d) {
      Gradients<Real> g = one;
      g.dy.data = part(g.dy.data, d * P);
      g.dh_n = part(dh_n, d * B * P);
      g.dc_n = part(dc_n, d * B * H);
      g.dh_0 = part(dh_0, d * B * P);
      g.dc_0 = part(dc_0, d * B * H);
      g.dh_reset = part(dh_reset, d * B * P);
      g.dc_reset = part(dc_reset, d * B * H);
      if (!weights.is_none()) g.weights = in_.template weights<Real>(item(weights, d), letters_);
      const bool projected = recurrences_.front().weights.W_hr;
      if (!sums.is_none()) g.sums = in_.template weights<Compute>(item(sums, d), letters_);
      const auto whole = [&](const auto& of) {  // without features W_ih has no address
        return of.W_hh ? (of.W_ih || call.I == 0) && !of.W_hr == !projected : !of.W_ih;
      };
      in_.require(whole(g.weights) && whole(g.sums) && !(g.weights.W_hh && g.sums.W_hh));
      gradients_.push_back(g);
    }
  }

  void clear(const Rows<Real>& rows, Index width, bool all) const {
    for (Index b = 0; b < call.B && !packed_; ++b) {
      for (Index t = all ? 0 : steps(b); t < call.T; ++t)
        std::fill_n(rows.data + t * rows.time_stride + b * rows.batch_stride, width, Real{});
    }
    for (Index n = 0; n < N_ && packed_ && all; ++n) std::fill_n(rows.data + n * rows.time_stride, width, Real{});
  }

  Tensors<Real> in_;
  std::vector<Recurrence<Real>> recurrences_;
  std::vector<Gradients<Real>> gradients_;
  std::vector<Index> lengths_, batch_sizes_;
  struct Cells {
    Real* to;  // null: they are only read
    std::vector<Compute> values;
  };
  std::list<Cells> cells_;             // where Real is not Compute
  std::list<std::vector<Index>> ids_;  // of each copy
  Letters letters_{};
  Index D_ = 0, N_ = 0;
  int time_axis_ = 0;
  bool packed_ = false, symbols_ = false;
  const bool has_c_, backward_;
};

}  // namespace unrolled
