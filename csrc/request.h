// SPDX-License-Identifier: Apache-2.0
// A call as a caller without structs hands it over, and how it is run: the fields of csrc/kernels.h in order, as
// integers, addresses among them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "dispatch.h"
#include "threads.h"
#include "workspace.h"

namespace unrolled {

// Reads integers, which stay the caller's, from front to back.
class Fields {
 public:
  Fields() = default;
  Fields(const std::vector<Index>& numbers) : at_(numbers.data()), end_(at_ + numbers.size()) {}

  Index number() {
    if (at_ == end_) throw std::out_of_range("a call has fewer fields than csrc/kernels.h");
    return *at_++;
  }
  bool flag() { return number() != 0; }
  template <class Element>
  Element* pointer() {
    return reinterpret_cast<Element*>(static_cast<std::uintptr_t>(number()));
  }
  template <class Element>
  Rows<Element> rows() {
    Rows<Element> r;
    r.data = pointer<Element>();
    r.time_stride = number();
    r.batch_stride = number();
    return r;
  }
  bool left() const { return at_ < end_; }

 private:
  const Index *at_ = nullptr, *end_ = nullptr;
};

// All of struct Call but the nets and their gradients; after `keep`, how many threads may run it.
template <class Real>
Call<Real> read_header(Fields& in, int& threads) {
  Call<Real> call{};
  call.cell = static_cast<CellKind>(in.number());
  call.T = in.number();
  call.B = in.number();
  call.I = in.number();
  call.H = in.number();
  call.P = in.number();
  call.recurrences = in.number();
  call.lengths = in.pointer<const Index>();
  call.batch_sizes = in.pointer<const Index>();
  call.reset = in.rows<const std::uint8_t>();
  call.save = in.flag();
  threads = static_cast<int>(in.number());
  call.segment = in.number();
  return call;
}

template <class Real>
Recurrence<Real> read_net(Fields& in) {
  Recurrence<Real> net;
  net.weights.W_ih = in.pointer<const Real>();
  net.weights.W_hh = in.pointer<const Real>();
  net.weights.b_ih = in.pointer<const Real>();
  net.weights.b_hh = in.pointer<const Real>();
  net.weights.W_hr = in.pointer<const Real>();
  net.x = in.rows<const Real>();
  net.symbols = in.rows<const Index>();
  net.h_0 = in.pointer<const Real>();
  net.c_0 = in.pointer<const Real>();
  net.y = in.rows<Real>();
  net.h_n = in.pointer<Real>();
  net.c_n = in.pointer<Real>();
  net.gates = in.rows<Real>();
  net.cells = in.rows<Real>();
  net.reverse = in.flag();
  return net;
}

template <class Real>
Gradients<Real> read_gradients(Fields& in) {
  Gradients<Real> g;
  g.dy = in.rows<const Real>();
  g.dh_n = in.pointer<const Real>();
  g.dc_n = in.pointer<const Real>();
  g.dx = in.rows<Real>();
  g.add_to_dx = in.flag();
  g.dh_0 = in.pointer<Real>();
  g.dc_0 = in.pointer<Real>();
  g.weights.W_ih = in.pointer<Real>();
  g.weights.W_hh = in.pointer<Real>();
  g.weights.b_ih = in.pointer<Real>();
  g.weights.b_hh = in.pointer<Real>();
  g.weights.W_hr = in.pointer<Real>();
  return g;
}

// A call with the nets that it points to.
template <class Real>
struct Request {
  int threads;
  Call<Real> call;
  std::vector<Recurrence<Real>> nets;
  std::vector<Gradients<Real>> gradients;

  Request(Fields header, Fields net_fields, Fields gradient_fields) : call(read_header<Real>(header, threads)) {
    for (Index k = 0; k < call.recurrences; ++k) nets.push_back(read_net<Real>(net_fields));
    while (gradient_fields.left()) gradients.push_back(read_gradients<Real>(gradient_fields));
    if (!gradients.empty() && gradients.size() != nets.size())
      throw std::out_of_range("a call has gradients for each net");
    call.recurrence = nets.data();
    call.gradients = gradients.empty() ? nullptr : gradients.data();
  }
  Request(const Request&) = delete;
};

// Runs `work(scratch, team)` on up to so many threads.  The team may turn out to be the caller alone, so the scratch,
// of `bytes(threads)`, has to do for both.
template <class Bytes, class Work>
void run_leased(int threads, Bytes bytes, Work work) {
  const Lease scratch(std::max(bytes(threads), bytes(1)));
  struct Job {
    Work& work;
    void* scratch;
  } job{work, scratch.data()};
  run_team(
      threads,
      [](void* context, const Team& team) {
        const Job& job = *static_cast<const Job*>(context);
        job.work(job.scratch, team);
      },
      &job);
}

// Runs a call, forward or, with gradients, back.
template <class Real>
void run_call(const Kernels<Real>& kernels, const Call<Real>& call, int threads) {
  run_leased(
      threads, [&](int n) { return kernels.scratch_bytes(call, n); },
      [&](void* scratch, const Team& team) {
        if (call.gradients) {
          kernels.backward(call, scratch, team);
        } else {
          kernels.forward(call, scratch, team, /*packed=*/false);
        }
      });
}

}  // namespace unrolled
