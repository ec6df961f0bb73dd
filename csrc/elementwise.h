// SPDX-License-Identifier: Apache-2.0
// Elementwise calls, read and checked: norms, dropout and the optimiser's step on tensors, and the
// activations on arrays.
#pragma once
#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "number_types.h"
#include "request.h"
#include "tensors.h"

namespace unrolled {

// Numbers in an item, where threads share arrays whose numbers are each read once.
constexpr Index kSharedNumbers = 1 << 14;

// body(item, first row, the one after the last) on N rows of H numbers, on up to this many threads.
template <class Body>
void share_numbers(Index N, Index H, int allowed, Body body) {
  struct Shared {
    Body& body;
    Index N, rows;  // all, and of an item
  } shared{body, N, std::max<Index>(1, kSharedNumbers / std::max<Index>(1, H))};
  run_team(
      N * H < 4 * kSharedNumbers ? 1 : std::min(allowed, processors()),
      [](void* context, const Team& team) {
        const Shared& of = *static_cast<const Shared*>(context);
        team.share((of.N + of.rows - 1) / of.rows, [&](Index item, int) {
          const Index first = item * of.rows;
          of.body(item, first, std::min(first + of.rows, of.N));
        });
      },
      &shared);
}

// Of the Euclidean norm of a tensor in one piece.
inline double sum_of_squares(nb::handle tensor, int asked) {
  const DLTensor x = read_tensor(tensor);
  return with_kernels(x.dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    Tensors<Real> in;
    const auto* numbers = in.template whole<const Computed<Real>>(tensor, {x.ndim == 1 ? x.shape[0] : 0});
    if (!in.fits()) throw std::invalid_argument("sum_of_squares: x is " + described(x) + ", expected float32 (P)");
    const nb::gil_scoped_release unlocked;
    std::vector<double> parts(static_cast<std::size_t>(x.shape[0] / kSharedNumbers + 1));
    share_numbers(x.shape[0], 1, allowed_threads(asked), [&](Index item, Index first, Index end) {
      parts[static_cast<std::size_t>(item)] = kernels.sum_of_squares(numbers + first, end - first);
    });
    return std::accumulate(parts.begin(), parts.end(), 0.0);
  });
}

// Dropout of x into y, which may be narrower, or without p its rounding.
inline void drop(nb::handle x, nb::handle y, nb::handle starts, Index seed, double p, bool add, int asked) {
  const DLTensor from = read_tensor(x), to = read_tensor(y);
  with_kernels(to.dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    const auto run = [&]<class From>(From, auto kernel) {
      Tensors<Real> in;
      Shape shape{};
      in.require(to.ndim > 0 && to.ndim <= Shape::kMost);
      for (int axis = 0; in.fits_so_far() && axis < to.ndim; ++axis) shape.push_back(to.shape[axis]);
      const Index H = in.fits_so_far() ? to.shape[to.ndim - 1] : 1;
      const Index N =
          std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>()) / std::max(H, Index{1});
      Drop<From, Real> pass{};
      pass.x = in.template whole<const From>(x, shape), pass.y = in.template whole<Real>(y, shape);
      pass.starts = in.template whole<const Index>(starts, {N});
      if (!in.fits()) {
        throw std::invalid_argument("drop: from " + described(from) + " to " + described(to) +
                                    ", expected one shape, and one type or a wider one to read");
      }
      constexpr double values = 4294967296.0;  // that are drawn from
      pass.least = static_cast<std::uint32_t>(std::min(p * values, values - 1));
      pass.H = H, pass.seed = seed, pass.add = add;
      pass.scale = static_cast<Computed<From>>(values / (values - pass.least));
      const nb::gil_scoped_release unlocked;
      share_numbers(N, H, allowed_threads(asked), [&](Index, Index first, Index end) { kernel(pass, first, end); });
    };
    if (from.dtype == kTypeOf<Real>) return run(Real{}, kernels.drop);
    run(Computed<Real>{}, kernels.drop_wide);
  });
}

inline void adam(nb::handle arrays, double scale, double beta1, double beta2, double eps, double keep, double rate,
                 double root, int asked) {
  const Named<kFieldsOf<AdamStep<float>>> given(arrays);
  with_kernels(read_tensor(given["values"]).dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    using Compute = Computed<Real>;
    Tensors<Compute> in;
    auto step = read_struct<AdamStep<Compute>>(in, arrays);
    step.scale = static_cast<Compute>(scale), step.keep = static_cast<Compute>(keep);
    step.beta1 = static_cast<Compute>(beta1), step.beta2 = static_cast<Compute>(beta2);
    step.eps = static_cast<Compute>(eps), step.rate = static_cast<Compute>(rate);
    step.root = static_cast<Compute>(root);
    const nb::gil_scoped_release unlocked;
    share_numbers(step.P, 1, allowed_threads(asked),
                  [&](Index, Index first, Index end) { kernels.adam(step, first, end); });
  });
}

using Flat = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FlatOut = nb::ndarray<nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class Real>
const Real* numbers(const Flat& array) {
  return static_cast<const Real*>(array.data());
}

inline void activate(const std::string& function, const Flat& x, const FlatOut& y) {
  if (function != "tanh" && function != "sigmoid") {
    throw std::invalid_argument("activate: no function '" + function + "'; the legal names are sigmoid, tanh");
  }
  if (x.dtype() != y.dtype()) throw nb::type_error("activate: x and y differ in type");
  if (x.size() != y.size()) throw std::invalid_argument("activate: x and y differ in length");
  const auto *from = static_cast<const char*>(x.data()), *to = static_cast<const char*>(y.data());
  if (from != to && from < to + y.nbytes() && to < from + x.nbytes())
    throw std::invalid_argument("activate: x and y overlap, expected one array or two");
  with_kernels(x.dtype(), [&]<class Real>(const Kernels<Real>& kernels) {
    kernels.activate(function == "tanh" ? Activation::tanh : Activation::sigmoid, numbers<Real>(x),
                     static_cast<Real*>(y.data()), static_cast<Index>(x.size()));
  });
}

}  // namespace unrolled
