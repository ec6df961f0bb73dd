// SPDX-License-Identifier: Apache-2.0
// The module: it reads arguments and hands them on, and computes nothing.
//
// Tensors come through tensors.h.  Arrays of the runtime, and what is run again and again in place, come as integers,
// the fields of csrc/kernels.h in order; who makes them (unrolled/stepping.py, unrolled/nn/replicas.py) checks device,
// type, shape and layout, and holds the references.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>

#include "sampler.h"
#include "dispatch.h"
#include "threads.h"
#include "request.h"
#include "stepper.h"
#include "tensors.h"
#include "workspace.h"

namespace nb = nanobind;
using namespace unrolled;

namespace {

std::vector<Index> numbers(const nb::list& list) {
  std::vector<Index> found;
  found.reserve(nb::len(list));
  for (const nb::handle item : list) found.push_back(nb::cast<Index>(item));
  return found;
}

int allowed_threads(int asked) {
  const int wanted = threads_from_environment();
  return wanted > 0 ? wanted : asked > 0 ? asked : default_threads();
}

template <class Real>
void run(const Kernels<Real>& kernels, const nb::list& header, const nb::list& nets, const nb::list& gradients) {
  const Request<Real> request(numbers(header), numbers(nets), numbers(gradients));
  const nb::gil_scoped_release unlocked;
  run_call(kernels, request.call, std::max(1, useful_threads(request.call, allowed_threads(request.threads))));
}

// The same from tensors; false if they do not fit each other, and then nothing was written.
template <class Real>
bool unroll(const Kernels<Real>& kernels, int cell, nb::handle layout, nb::handle nets, nb::handle gradients, bool keep,
            Index segment, int threads) {
  const LayerCall<Real> layer(static_cast<CellKind>(cell), layout, nets, gradients, keep, segment);
  if (!layer.fits()) return false;
  const nb::gil_scoped_release unlocked;
  run_call(kernels, layer.call, std::max(1, useful_threads(layer.call, allowed_threads(threads))));
  return true;
}

// Whether the weights of a layer, by W_hh of its first direction, are float64; all others must be as this one.
bool are_doubles(nb::handle weights) { return read_tensor(item(item(weights, 0), 1)).type == dlpack::kFloat64; }

// The head in training: fields of struct HeadPass, then the threads allowed.  Returns the loss.
template <class Real>
double head(const Kernels<Real>& kernels, const nb::list& fields) {
  const std::vector<Index> given = numbers(fields);
  Fields in(given);
  HeadPass<Real> pass;
  pass.W = in.pointer<const Real>();
  pass.b = in.pointer<const Real>();
  pass.x = in.pointer<const Real>();
  pass.targets = in.pointer<const Index>();
  pass.dx = in.pointer<Real>();
  pass.dW = in.pointer<Real>();
  pass.db = in.pointer<Real>();
  pass.N = in.number();
  pass.H = in.number();
  pass.V = in.number();
  const int asked = static_cast<int>(in.number());
  double nats = 0;
  pass.nats = &nats;
  const Index* too_large = std::find_if(pass.targets, pass.targets + pass.N, [&](Index v) { return v >= pass.V; });
  if (too_large != pass.targets + pass.N) {
    throw nb::index_error(("target " + std::to_string(*too_large) + " of row " +
                           std::to_string(too_large - pass.targets) +
                           ", expected less than V = " + std::to_string(pass.V))
                              .c_str());
  }
  const nb::gil_scoped_release unlocked;
  const int threads = useful_threads(3.0 * pass.N * pass.H * pass.V, allowed_threads(asked));
  run_leased(
      threads, [&](int n) { return kernels.head_bytes(pass, n); },
      [&](void* scratch, const Team& team) { kernels.head(pass, scratch, team); });
  return nats;
}

// A stack of layers from (header, net fields) of each, bottom first, and the fields of struct Linear, or none.
template <class Real>
void construct(Stepper<Real>* stepper, const nb::list& layers, const nb::list& head) {
  new (stepper) Stepper<Real>();
  for (const nb::handle layer : layers) {
    const auto header = numbers(nb::cast<nb::list>(layer[0])), nets = numbers(nb::cast<nb::list>(layer[1]));
    const Request<Real> request(header, nets, {});
    stepper->add_layer(request.call, request.nets);
  }
  if (nb::len(head) > 0) {
    const std::vector<Index> given = numbers(head);
    Fields in(given);
    Linear<Real> linear;
    linear.W = in.pointer<const Real>();
    linear.b = in.pointer<const Real>();
    linear.x = in.pointer<const Real>();
    linear.y = in.pointer<Real>();
    linear.B = in.number();
    linear.H = in.number();
    linear.V = in.number();
    stepper->add_head(linear);
  }
}

using Uniforms = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Symbols = nb::ndarray<Index, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Real>
Index write(Stepper<Real>& stepper, const Choice& choice, Index last, const Uniforms& u, const Symbols& written) {
  const Index B = stepper.writes();
  if (B < 0) throw std::invalid_argument("write: this stepper has no head to choose symbols from, or reads no symbols");
  if (u.shape(0) != written.shape(0) || u.shape(1) != written.shape(1) || static_cast<Index>(u.shape(1)) != B) {
    throw std::invalid_argument("write: u is (" + std::to_string(u.shape(0)) + ", " + std::to_string(u.shape(1)) +
                                "), written (" + std::to_string(written.shape(0)) + ", " +
                                std::to_string(written.shape(1)) + "), expected (N, B = " + std::to_string(B) + ")");
  }
  const nb::gil_scoped_release unlocked;
  return stepper.write(choice, last, static_cast<Index>(u.shape(0)), u.data(), written.data());
}

template <class Real>
void bind_stepper(nb::module_& m, const char* name, const char* doc) {
  nb::class_<Stepper<Real>>(m, name, doc)
      .def("__init__", &construct<Real>, nb::arg("layers"), nb::arg("head"))
      .def("step", &Stepper<Real>::step, "Run the next step on the arrays whose addresses it was given.")
      .def(
          "step_from",
          [](Stepper<Real>& s, std::uintptr_t x) { s.read_from(reinterpret_cast<const Real*>(x)), s.step(); },
          nb::arg("x"), "The same, with the input (B, I) at this address.")
      .def("write", &write<Real>, nb::arg("choice"), nb::arg("last"), nb::arg("u").noconvert(),
           nb::arg("written").noconvert(),
           "Choose and read up to N symbols a row, u and written (N, B); return the steps done: fewer after `last`.");
}

// A tensor in memory of the workspace, which takes it back when the last view of the tensor is gone.
template <class Real>
auto buffer(const std::vector<std::size_t>& shape) {
  const std::size_t n = std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
  auto* lease = new Lease(n * sizeof(Real));
  const nb::capsule owner(lease, [](void* p) noexcept { delete static_cast<Lease*>(p); });
  return nb::ndarray<nb::pytorch, Real, nb::device::cpu>(lease->data(), shape.size(), shape.data(), owner);
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

template <class Real>
Index choose(const Choice& choice, const Flat<Real>& logits, double u) {
  return Chooser(choice, static_cast<Index>(logits.size())).choose(logits.data(), u);
}

template <class Real>
void shares(const Choice& choice, const Flat<Real>& logits, const FlatOut<double>& p) {
  if (logits.size() != p.size()) throw std::invalid_argument("shares: logits and p differ in length");
  Chooser chooser(choice, static_cast<Index>(logits.size()));
  const std::vector<double>& found = chooser.shares(logits.data());
  std::copy(found.begin(), found.end(), p.data());
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
  m.def("use_library", &use_library, nb::arg("exchange"), nb::arg("is_negated"), nb::arg("plain"),
        "Take tensors from a library: what it offers as __dlpack_c_exchange_api__, its test for negated views, and its "
        "types whose values lie where their address says.");
  m.def(
      "unroll",
      [](int cell, nb::handle layout, nb::handle nets, nb::handle gradients, bool keep, Index segment, int threads) {
        const InstructionSet& set = active_instruction_set();
        return are_doubles(item(item(nets, 0), 3))
                   ? unroll(set.f64, cell, layout, nets, gradients, keep, segment, threads)
                   : unroll(set.f32, cell, layout, nets, gradients, keep, segment, threads);
      },
      nb::arg("cell"), nb::arg("layout"), nb::arg("nets"), nb::arg("gradients"), nb::arg("keep"), nb::arg("segment"),
      nb::arg("threads"), "Run one layer call on tensors (csrc/tensors.h); return whether they fit each other.");
  m.def(
      "step",
      [](int cell, nb::handle x, nb::handle state, nb::handle weights, bool stacked, int threads) {
        const InstructionSet& set = active_instruction_set();
        const auto kind = static_cast<CellKind>(cell);
        if (!is_plain(item(item(weights, 0), 1))) return nb::object(nb::none());
        return are_doubles(weights) ? step_of(set.f64, kind, x, state, weights, stacked, allowed_threads(threads))
                                    : step_of(set.f32, kind, x, state, weights, stacked, allowed_threads(threads));
      },
      nb::arg("cell"), nb::arg("x").none(), nb::arg("state").none(), nb::arg("weights"), nb::arg("stacked"),
      nb::arg("threads"),
      "Run one step of plain tensors (csrc/tensors.h); return the new state, or None for anything that is not plain.");
  m.def(
      "head_f32", [](const nb::list& fields) { return head(active_instruction_set().f32, fields); }, nb::arg("fields"),
      "Run the head once in training, float32; the fields are those of struct HeadPass without nats, and the threads "
      "allowed.  Return the loss in nats.");
  m.def(
      "head_f64", [](const nb::list& fields) { return head(active_instruction_set().f64, fields); }, nb::arg("fields"),
      "The same in float64.");
  bind_stepper<float>(m, "StepperF32", "Float32 layers that go step by step, their weights packed; maybe a head.");
  bind_stepper<double>(m, "StepperF64", "The same in float64.");
  nb::class_<Choice>(m, "Choice", "How a symbol is chosen: the fields of csrc/sampler.h.")
      .def(nb::init<Index, double, Index, double, double, bool>(), nb::arg("forbidden"), nb::arg("temperature"),
           nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"), nb::arg("likeliest"));
  m.def("choose", &choose<float>, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("u"),
        "Return the symbol that u in [0, 1) chooses from float32 logits (V).");
  m.def("choose", &choose<double>, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("u"));
  m.def("shares", &shares<float>, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("p").noconvert(),
        "Write to p (V) the shares that float32 logits (V) leave to draw from.");
  m.def("shares", &shares<double>, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("p").noconvert());
  m.def("buffer_f32", &buffer<float>, nb::arg("shape"),
        "An uninitialised float32 tensor of this shape whose memory is used again when it is gone.");
  m.def("buffer_f64", &buffer<double>, nb::arg("shape"), "The same in float64.");
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
  m.def("block_steps", &block_steps, nb::arg("B"), "Steps whose weight gradients are summed in one go.");
  m.def(
      "environment", [](const char* name) { return std::getenv(name); }, nb::arg("name"),
      "Value of an environment variable now, None if it is not set; a tenth of what os.environ takes.");
  m.def("default_threads", &default_threads, "UNROLLED_NUM_THREADS, or the processors of this process.");
}
