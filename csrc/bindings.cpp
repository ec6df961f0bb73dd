// SPDX-License-Identifier: Apache-2.0
// The only file that includes nanobind.  It reads arguments, leases scratch and runs the team; it computes nothing.
//
// The hot path takes addresses as integers: a tensor argument costs 1 to 3 us through DLPack, an integer 0.05 us.  Its
// callers (unrolled/nn/fused.py, unrolled/runtime/stepping.py) check device, dtype, shape and layout, and hold the
// references.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>

#include "dispatch.h"
#include "pool.h"
#include "workspace.h"

namespace nb = nanobind;
using namespace unrolled;

namespace {

// Reads a list of integers from front to back.
class Reader {
 public:
  explicit Reader(const nb::list& numbers) : numbers_(numbers) {}
  Index number() { return nb::cast<Index>(numbers_[at_++]); }
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
  std::size_t left() const { return nb::len(numbers_) - at_; }

 private:
  const nb::list& numbers_;
  std::size_t at_ = 0;
};

template <class Real>
Net<Real> read_net(Reader& in) {
  Net<Real> net;
  net.W_ih = in.pointer<const Real>();
  net.W_hh = in.pointer<const Real>();
  net.b_ih = in.pointer<const Real>();
  net.b_hh = in.pointer<const Real>();
  net.W_hr = in.pointer<const Real>();
  net.x = in.rows<const Real>();
  net.symbols = in.rows<const Index>();
  net.h_0 = in.pointer<const Real>();
  net.c_0 = in.pointer<const Real>();
  net.y = in.rows<Real>();
  net.h_n = in.pointer<Real>();
  net.c_n = in.pointer<Real>();
  net.gates = in.rows<Real>();
  net.cells = in.rows<Real>();
  net.reverse = in.number() != 0;
  return net;
}

template <class Real>
Gradients<Real> read_gradients(Reader& in) {
  Gradients<Real> g;
  g.dy = in.rows<const Real>();
  g.dh_n = in.pointer<const Real>();
  g.dc_n = in.pointer<const Real>();
  g.dx = in.rows<Real>();
  g.add_to_dx = in.number() != 0;
  g.dh_0 = in.pointer<Real>();
  g.dc_0 = in.pointer<Real>();
  g.dW_ih = in.pointer<Real>();
  g.dW_hh = in.pointer<Real>();
  g.db_ih = in.pointer<Real>();
  g.db_hh = in.pointer<Real>();
  g.dW_hr = in.pointer<Real>();
  return g;
}

template <class Real>
struct Job {
  const Kernels<Real>& kernels;
  const Call<Real>& call;
  void* scratch;
  static void body(void* context, const Team& team) {
    const Job& job = *static_cast<const Job*>(context);
    if (job.call.gradients) {
      job.kernels.backward(job.call, job.scratch, team);
    } else {
      job.kernels.forward(job.call, job.scratch, team, false);
    }
  }
};

// A call as Python hands it over: the fields of csrc/kernels.h in order.
template <class Real>
struct Request {
  Call<Real> call;
  int allowed_threads;
  std::vector<Net<Real>> nets;
  std::vector<Gradients<Real>> gradients;

  Request(const nb::list& header, const nb::list& net_fields, const nb::list& gradient_fields) {
    Reader in(header);
    call.cell = static_cast<CellKind>(in.number());
    call.T = in.number();
    call.B = in.number();
    call.I = in.number();
    call.H = in.number();
    call.P = in.number();
    call.nets = in.number();
    call.lengths = in.pointer<const Index>();
    call.batch_sizes = in.pointer<const Index>();
    call.reset = in.rows<const std::uint8_t>();
    call.keep = in.number() != 0;
    allowed_threads = static_cast<int>(in.number());
    read(net_fields, gradient_fields);
  }

  void read(const nb::list& net_fields, const nb::list& gradient_fields) {
    nets.clear();
    Reader net_in(net_fields);
    for (Index k = 0; k < call.nets; ++k) nets.push_back(read_net<Real>(net_in));
    Reader gradient_in(gradient_fields);
    while (gradient_in.left() > 0) gradients.push_back(read_gradients<Real>(gradient_in));
    call.net = nets.data();
    call.gradients = gradients.empty() ? nullptr : gradients.data();
  }
};

template <class Real>
void run(const Kernels<Real>& kernels, const nb::list& header, const nb::list& nets, const nb::list& gradients) {
  const Request<Real> request(header, nets, gradients);
  const Call<Real>& call = request.call;
  nb::gil_scoped_release unlocked;
  const int wanted = threads_from_environment();
  const int allowed = wanted > 0 ? wanted : request.allowed_threads > 0 ? request.allowed_threads : default_threads();
  const int threads = std::max(1, useful_threads(call, allowed));
  // The team may turn out to be the caller alone, so the scratch has to do for both.
  const std::size_t bytes = std::max(kernels.scratch_bytes(call, threads), kernels.scratch_bytes(call, 1));
  const Lease scratch(bytes);
  Job<Real> job{kernels, call, scratch.data()};
  run_team(threads, Job<Real>::body, &job);
}

// One layer that goes step by step: its weights stay packed, its state is where the arrays of the request are.
// The arrays belong to the caller, who keeps them alive and in place.
template <class Real>
class Stepper {
 public:
  Stepper(const nb::list& header, const nb::list& nets)
      : set_(active_instruction_set()), request_(reused(Request<Real>(header, nets, nb::list()))),
        scratch_(kernels().scratch_bytes(request_.call, 1)) {
    request_.call.net = request_.nets.data();
  }

  // The next step: x (or symbols), h_0 and c_0 are read, y, h_n and c_n written.
  void step() {
    kernels().forward(request_.call, scratch_.data(), Team{0, 1, nullptr}, packed_);
    packed_ = true;
  }

 private:
  const Kernels<Real>& kernels() const {
    if constexpr (sizeof(Real) == 4)
      return set_.f32;
    else
      return set_.f64;
  }

  static Request<Real> reused(Request<Real> request) {
    request.call.reused = true;
    return request;
  }

  const InstructionSet& set_;  // scratch is laid out for one instruction set
  Request<Real> request_;
  Lease scratch_;
  bool packed_ = false;
};

// A flat tensor in memory of the workspace, which takes it back when the last view of the tensor is gone.
template <class Real>
auto buffer(std::size_t n) {
  auto* lease = new Lease(n * sizeof(Real));
  const nb::capsule owner(lease, [](void* p) noexcept { delete static_cast<Lease*>(p); });
  return nb::ndarray<nb::pytorch, Real, nb::ndim<1>, nb::device::cpu>(static_cast<Real*>(lease->data()), {n}, owner);
}

template <class Real>
using Flat = nb::ndarray<const Real, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Real>
using FlatOut = nb::ndarray<Real, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class Real>
void activate(const Kernels<Real>& kernels, const std::string& function, const Flat<Real>& x, const FlatOut<Real>& y) {
  if (function != "tanh" && function != "sigmoid") {
    throw std::invalid_argument("activate: no function '" + function + "'; the legal names are sigmoid, tanh");
  }
  if (x.size() != y.size()) throw std::invalid_argument("activate: in and out differ in length");
  kernels.activate(function == "tanh" ? Activation::tanh : Activation::sigmoid, x.data(), y.data(),
                   static_cast<Index>(x.size()));
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "The kernels: RNN, LSTM and GRU layers, forward and back through time.";
  m.def(
      "run_f32",
      [](const nb::list& header, const nb::list& nets, const nb::list& gradients) {
        run(active_instruction_set().f32, header, nets, gradients);
      },
      nb::arg("header"), nb::arg("nets"), nb::arg("gradients"),
      "Run one float32 layer call; the fields are those of csrc/kernels.h, in order, addresses as integers.");
  m.def(
      "run_f64",
      [](const nb::list& header, const nb::list& nets, const nb::list& gradients) {
        run(active_instruction_set().f64, header, nets, gradients);
      },
      nb::arg("header"), nb::arg("nets"), nb::arg("gradients"), "Run one float64 layer call.");
  nb::class_<Stepper<float>>(m, "StepperF32", "A float32 layer that goes step by step with its weights packed.")
      .def(nb::init<const nb::list&, const nb::list&>(), nb::arg("header"), nb::arg("nets"))
      .def("step", &Stepper<float>::step, "Run the next step on the arrays whose addresses it was given.");
  nb::class_<Stepper<double>>(m, "StepperF64", "A float64 layer that goes step by step with its weights packed.")
      .def(nb::init<const nb::list&, const nb::list&>(), nb::arg("header"), nb::arg("nets"))
      .def("step", &Stepper<double>::step, "Run the next step on the arrays whose addresses it was given.");
  m.def("buffer_f32", &buffer<float>, nb::arg("n"),
        "An uninitialised flat float32 tensor of n elements whose memory is used again when it is gone.");
  m.def("buffer_f64", &buffer<double>, nb::arg("n"), "The same in float64.");
  m.def("release_workspace", &release_workspace, "Give memory that waits to be used again back to the system.");
  m.def(
      "activate",
      [](const std::string& function, const Flat<float>& x, const FlatOut<float>& y) {
        activate(active_instruction_set().f32, function, x, y);
      },
      nb::arg("function"), nb::arg("x").noconvert(), nb::arg("y").noconvert(),
      "Write sigmoid or tanh of x to y: the kernels' own versions.");
  m.def(
      "activate",
      [](const std::string& function, const Flat<double>& x, const FlatOut<double>& y) {
        activate(active_instruction_set().f64, function, x, y);
      },
      nb::arg("function"), nb::arg("x").noconvert(), nb::arg("y").noconvert());
  m.def(
      "instruction_sets",
      [] {
        std::vector<std::string> names;
        for (const InstructionSet* set : compiled_instruction_sets()) {
          if (set->supported()) names.emplace_back(set->name);
        }
        return names;
      },
      "Names of the instruction sets that this processor can run, best first.");
  m.def(
      "compiled_instruction_sets",
      [] {
        std::vector<std::string> names;
        for (const InstructionSet* set : compiled_instruction_sets()) names.emplace_back(set->name);
        return names;
      },
      "Names of all instruction sets in this build, best first.");
  m.def(
      "active_instruction_set", [] { return std::string(active_instruction_set().name); },
      "Name of the instruction set in use; ValueError if UNROLLED_ISA names none of this machine.");
  m.def("force_instruction_set", &force_instruction_set, nb::arg("name"), "Use this instruction set from now on.");
  m.def("default_threads", &default_threads, "UNROLLED_NUM_THREADS, or the processors of this process.");
}
