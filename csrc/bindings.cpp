// SPDX-License-Identifier: Apache-2.0
// The Python module: it reads arguments and passes them on, and computes nothing.
//
// Every function serves float32 and float64 under one name; `with_kernels` chooses.  Arrays come in named tuples, which
// tensors.h reads and checks by the tables of fields.h, or as the typed arrays of nanobind.  No address comes alone.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "barrier.h"
#include "sampler.h"
#include "dispatch.h"
#include "elementwise.h"
#include "layer_call.h"
#include "array_view.h"
#include "number_types.h"
#include "numbers.h"
#include "numpy_array.h"
#include "threads.h"
#include "request.h"
#include "step.h"
#include "stepper_arrays.h"
#include "tensors.h"
#include "workspace.h"

namespace nb = nanobind;
using namespace unrolled;

namespace {

// Runs a layer; false if its arrays do not fit each other, and then nothing was written.
template <class Real>
bool run_layer(const Kernels<Real>& kernels, LayerCall<Real>& layer, int threads) {
  if (!layer.fits()) return false;
  const nb::gil_scoped_release unlocked;
  layer.clear();
  run_call(kernels, layer.call, allowed_threads(threads));
  layer.finish();
  return true;
}

bool unroll(int cell, nb::handle layout, nb::handle copies, nb::handle gradients, bool save, Index segment,
            int threads) {
  const Named<kWeightsFields> first(item(Named<kLayerFields>(item(copies, 0))["weights"], 0));
  return with_kernels(first, [&]<class Real>(const Kernels<Real>& kernels) {
    LayerCall<Real> layer(cell_of(cell), layout, copies, gradients, save, segment);
    return run_layer(kernels, layer, threads);
  });
}

bool unroll_arrays(std::string_view dtype, int cell, nb::handle layout, nb::handle layer, int threads) {
  return with_kernels(dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    LayerCall<Real> call(cell_of(cell), layout, nb::make_tuple(layer), nb::tuple(), false, 0, Take::arrays);
    return run_layer(kernels, call, threads);
  });
}

// A head on rows of its own.
void linear(std::string_view dtype, nb::handle arrays) {
  with_steps(dtype, [&]<class Real>(const StepKernels<Real>& kernels) {
    Tensors<Real> in(Take::arrays);
    const auto pass = read_struct<LinearPass<Real>>(in, arrays);
    const Linear<Real> all{pass.W, pass.b, pass.x, pass.y, kSharedRows, pass.H, pass.V, {}};
    const nb::gil_scoped_release unlocked;
    const StepBytes bytes = kernels.linear_bytes(all);  // each item has its own
    const Lease weights(bytes.weights), own(shared_items(pass.N) * bytes.own);
    kernels.pack_linear(all, weights.data());
    share_rows(pass.N, pass.H * pass.V, [&](Index item, Index first, Index rows) {
      Linear<Real> mine = all;
      mine.x += first * pass.H, mine.y += first * pass.V, mine.B = rows;
      kernels.linear(mine, weights.data(), static_cast<char*>(own.data()) + item * bytes.own);
    });
  });
}

nb::object step(int cell, nb::handle x, nb::handle state, nb::handle weights, bool stacked, int threads) {
  const nb::handle first = Named<kWeightsFields>(item(weights, 0))["W_hh"];
  if (!is_plain(first)) return nb::none();
  const DLTensor W_hh = read_tensor(first);
  return with_kernels(W_hh.dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    if constexpr (std::is_same_v<Real, Computed<Real>>) {
      return step_of(kernels, cell_of(cell), x, state, weights, W_hh, stacked, allowed_threads(threads));
    } else {
      return nb::object(nb::none());  // c would need a place in between: the caller takes the slow path
    }
  });
}

// The head in training, once; returns the loss.
double head(nb::handle arrays, int asked) {
  const Named<kFieldsOf<HeadPass<float>>> given(arrays);
  return with_kernels(read_tensor(given["W"]).dtype, [&]<class Real>(const Kernels<Real>& kernels) {
    Tensors<Real> in;
    auto pass = read_struct<HeadPass<Real>>(in, arrays);
    double nats = 0;
    pass.nats = &nats;
    if (pass.V < 1) throw std::invalid_argument("HeadPass: V is 0, expected at least one symbol");
    const std::vector<Index> targets(pass.targets, pass.targets + pass.N);  // copied, so that nobody can change them
    pass.targets = targets.data();
    const auto too_large = std::find_if(targets.begin(), targets.end(), [&](Index v) { return v >= pass.V; });
    if (too_large != targets.end()) {
      throw nb::index_error(("target " + std::to_string(*too_large) + " of row " +
                             std::to_string(too_large - targets.begin()) +
                             ", expected less than V = " + std::to_string(pass.V))
                                .c_str());
    }
    const nb::gil_scoped_release unlocked;
    const bool large = 3.0 * pass.N * pass.H * pass.V > kWorthAsking;
    run_leased(
        large ? std::min(allowed_threads(asked), processors()) : 1,
        [&](int members) { return kernels.head_bytes(pass, members); },
        [&](void* scratch, const Team& team) { kernels.head(pass, scratch, team); });
    return nats;
  });
}

using AnyStepper = std::variant<Stepper<float>, Stepper<double>, Stepper<BFloat16>>;
using Uniforms = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Symbols = nb::ndarray<Index, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// A stack of layers, with the kernels of one type; with int8, rows and vectors are float32.
void make_stepper(AnyStepper* place, std::string_view dtype, nb::handle cells, nb::handle layers, nb::handle head,
                  nb::handle embedding, Index B, bool symbols) {
  const bool int8 = dtype == "int8";
  const StackArrays given{cells, layers, head, embedding, symbols, int8};
  const auto make = [&]<class Real>(const StepKernels<Real>& steps, const StepKernels<Real>& plain) {
    new (place) AnyStepper(std::in_place_type<Stepper<Real>>, StackReader<Real>(steps, plain, given).read(), B);
  };
  if (int8) return make(*active_instruction_set().int8, *active_instruction_set().f32);
  with_steps(dtype, [&](const auto& steps) { make(steps, steps); });
}

// Other rows on the weights of another stepper.
AnyStepper* stepper_beside(const AnyStepper& other, Index B) {
  return std::visit(
      [&]<class Real>(const Stepper<Real>& stepper) {
        return new AnyStepper(std::in_place_type<Stepper<Real>>, stepper.stack(), B);
      },
      other);
}

Index write_symbols(AnyStepper& any, const Choice& choice, Index last, const Uniforms& u, const Symbols& written) {
  return std::visit(
      [&](auto& stepper) {
        const Index B = stepper.rows_to_write();
        if (u.shape(0) != written.shape(0) || u.shape(1) != written.shape(1) || static_cast<Index>(u.shape(1)) != B) {
          throw std::invalid_argument("write: u is (" + std::to_string(u.shape(0)) + ", " + std::to_string(u.shape(1)) +
                                      "), written (" + std::to_string(written.shape(0)) + ", " +
                                      std::to_string(written.shape(1)) + "), expected (N, B = " + std::to_string(B) +
                                      ")");
        }
        const nb::gil_scoped_release unlocked;
        return stepper.write(choice, last, static_cast<Index>(u.shape(0)), u.data(), written.data());
      },
      any);
}

nb::tuple team_of(Index T, Index B, Index recurrences, Index panels, double recurrent, double rest, double bytes,
                  int lanes, int allowed) {
  for (const auto& [name, value] : {std::pair{"recurrent", recurrent}, {"rest", rest}, {"bytes", bytes}})
    expect_number(name, value, value >= 0, "of 0 or more");
  for (const auto& [name, value] : {std::pair{"panels", panels}, {"lanes", Index{lanes}}})
    expect_number(name, static_cast<double>(value), value >= 1, "of 1 or more");
  const Crewing found = choose_team({T, B, recurrences, panels, recurrent, rest, bytes, lanes}, allowed);
  const Blocking blocks = blocking(found.division, found.members, recurrences, B, panels);
  return nb::make_tuple(found.members, found.division == Division::rows ? "rows" : "steps", blocks.rows, blocks.panels,
                        found.nanoseconds);
}

nb::tuple crew(int cell, std::string_view dtype, Index T, Index B, Index I, Index H, Index P, Index D, bool symbols,
               bool backward, int threads) {
  return with_kernels(dtype, [&]<class Real>(const Kernels<Real>&) {
    static constexpr Index some_symbol = 0;
    Recurrence<Real> recurrence{};
    if (symbols) recurrence.symbols.data = &some_symbol;
    const Gradients<Real> gradients{};
    Call<Real> call{};
    call.cell = cell_of(cell), call.T = T, call.B = B, call.I = I, call.H = H, call.P = P, call.recurrences = D;
    call.recurrence = &recurrence, call.gradients = backward ? &gradients : nullptr;
    const Crewing found = crewing(call, allowed_threads(threads));
    return nb::make_tuple(found.members, found.division == Division::rows ? "rows" : "steps");
  });
}

// A tensor in memory of the workspace, which takes it back when the last view of the tensor is gone.
nb::object buffer(std::string_view dtype, const std::vector<std::size_t>& shape) {
  return with_kernels(dtype,
                      [&]<class Real>(const Kernels<Real>&) { return view_of<nb::pytorch>(LeasedArray<Real>(shape)); });
}

Index choose(const Choice& choice, const Flat& logits, double u) {
  Chooser chooser(choice, static_cast<Index>(logits.size()));
  return number_type(logits.dtype()) == kFloat64 ? chooser.choose(numbers<double>(logits), u)
                                                 : chooser.choose(numbers<float>(logits), u);
}

void shares(const Choice& choice, const Flat& logits,
            const nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>& p) {
  if (logits.size() != p.size()) throw std::invalid_argument("shares: logits and p differ in length");
  Chooser chooser(choice, static_cast<Index>(logits.size()));
  const std::vector<double>& found = number_type(logits.dtype()) == kFloat64 ? chooser.shares(numbers<double>(logits))
                                                                             : chooser.shares(numbers<float>(logits));
  std::copy(found.begin(), found.end(), p.data());
}

void log_sums(const nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>& logits,
              const nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>& sums) {
  const auto N = static_cast<Index>(logits.shape(0)), V = static_cast<Index>(logits.shape(1));
  if (static_cast<Index>(sums.shape(0)) != N || V < 1)
    throw std::invalid_argument("log_sums: logits are (" + std::to_string(N) + ", " + std::to_string(V) + "), sums (" +
                                std::to_string(sums.shape(0)) + "), expected (N, V) and (N)");
  const auto run = [&]<class Real>(const Kernels<Real>& kernels) {
    const auto* y = static_cast<const Computed<Real>*>(logits.data());
    const nb::gil_scoped_release unlocked;
    constexpr Index exp = 16;  // takes about as long as this many multiply-adds
    share_rows(N, V * exp,
               [&](Index, Index first, Index rows) { kernels.log_sums(y + first * V, rows, V, sums.data() + first); });
  };
  const DLDataType type = number_type(logits.dtype());
  if (type == kBFloat16) refuse_type("logits in bfloat16");
  with_kernels(type, run);
}

nb::dict tuple_fields() {
  nb::dict found;
  const auto add = [&](const auto& table) {
    found[nb::cast(table.name)] =
        nb::tuple(nb::cast(std::vector<std::string_view>(table.fields.begin(), table.fields.end())));
  };
  add(kLayoutFields), add(kLayerFields), add(kGradientsFields), add(kWeightsFields);
  add(kFieldsOf<Linear<float>>), add(kFieldsOf<HeadPass<float>>), add(kFieldsOf<LinearPass<float>>);
  add(kFieldsOf<AdamStep<float>>);
  return found;
}

std::vector<std::string> names(const std::vector<const InstructionSet*>& sets) {
  std::vector<std::string> found;
  for (const InstructionSet* set : sets) found.emplace_back(set->name);
  return found;
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "The kernels: RNN, LSTM and GRU layers, forward and back through time.";
  Numpy::instance();
  m.def(
      "cells",
      [] {
        std::vector<std::tuple<int, int, bool>> cells;
        for (const CellSizes& sizes : kCells) cells.emplace_back(sizes.gates, sizes.saved, sizes.has_c);
        return cells;
      },
      "Gates, saved slots and whether there is a cell state, of each cell by its number.");
  m.def("tuple_fields", &tuple_fields, "Names of the fields of each tuple of tensors, in order.");
  m.def("use_library", &use_library, nb::arg("exchange"), nb::arg("is_negated"), nb::arg("storage_offset"),
        nb::arg("plain"),
        "Register the library that tensors come from: its __dlpack_c_exchange_api__, its test for negated views, where "
        "a view begins in its storage, and its types whose values lie where their address says.");
  m.def("unroll", &unroll, nb::arg("cell"), nb::arg("layout"), nb::arg("copies"), nb::arg("gradients"), nb::arg("save"),
        nb::arg("segment"), nb::arg("threads"), "Run one layer call on tensors; return whether they fit each other.");
  m.def("unroll_arrays", &unroll_arrays, nb::arg("dtype"), nb::arg("cell"), nb::arg("layout"), nb::arg("layer"),
        nb::arg("threads"),
        "Run one layer forward on arrays of numpy, bfloat16 as uint16; return whether they fit each other.");
  m.def("linear", &linear, nb::arg("dtype"), nb::arg("arrays"), "Write y = W x + b, on the arrays of LinearPass.");
  m.def(
      "reads", [](nb::handle tensor) { return read_tensor(tensor).device.device_type == kDLCPU; },
      nb::arg("tensor").none(), "Whether the values of a tensor lie in memory that a call could read.");
  m.def("step", &step, nb::arg("cell"), nb::arg("x").none(), nb::arg("state").none(), nb::arg("weights"),
        nb::arg("stacked"), nb::arg("threads"),
        "Run one step of plain tensors; return the new state, or None for anything that is not plain.");
  m.def("head", &head, nb::arg("arrays"), nb::arg("threads"),
        "Run the head once in training, on the arrays of HeadPass; return the loss in nats.");
  m.def("sum_of_squares", &sum_of_squares, nb::arg("x"), nb::arg("threads"),
        "Return the sum of the squares of x (P), in one order for any number of threads.");
  m.def("drop", &drop, nb::arg("x"), nb::arg("y"), nb::arg("starts").none(), nb::arg("seed"), nb::arg("p"),
        nb::arg("add"), nb::arg("threads"),
        "Write x to y, or add it, each number with probability p as 0 and else divided by 1 - p; csrc/kernels.h.");
  m.def("adam", &adam, nb::arg("arrays"), nb::arg("scale"), nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"),
        nb::arg("keep"), nb::arg("rate"), nb::arg("root"), nb::arg("threads"),
        "Take a step of AdamW on the arrays of AdamStep, by the numbers of csrc/kernels.h; its gradients become zero.");
  nb::class_<AnyStepper>(m, "Stepper", "A stack of layers, and maybe a head, that steps with its weights packed.")
      .def("__init__", &make_stepper, nb::arg("dtype"), nb::arg("cells"), nb::arg("layers"), nb::arg("head").none(),
           nb::arg("embedding").none(), nb::arg("B"), nb::arg("symbols"))
      .def("beside", &stepper_beside, nb::arg("B"), "A stepper of B other rows on the same packed weights.")
      .def_prop_ro("states",
                   [](const AnyStepper& any) { return std::visit([](auto& s) { return states_of(s); }, any); })
      .def_prop_ro(
          "output",
          [](const AnyStepper& any) { return std::visit([](auto& s) { return view_of<nb::numpy>(s.output()); }, any); })
      .def_prop_ro(
          "logits",
          [](const AnyStepper& any) { return std::visit([](auto& s) { return view_of<nb::numpy>(s.logits()); }, any); })
      .def(
          "step", [](AnyStepper& any, nb::handle x) { std::visit([&](auto& s) { step_stepper(s, x); }, any); },
          nb::arg("x").none(), "Read x (B, I), or symbols (B), and run a step.")
      .def("write", &write_symbols, nb::arg("choice"), nb::arg("last"), nb::arg("u").noconvert(),
           nb::arg("written").noconvert(),
           "Choose and read up to N symbols a row, u and written (N, B); return the steps done: fewer after `last`.");
  nb::class_<Choice>(m, "Choice", "How a symbol is chosen: the fields of csrc/sampler.h.")
      .def(
          "__init__",
          [](Choice* place, Index forbidden, double temperature, Index top_k, double top_p, double min_p,
             bool likeliest) { new (place) Choice(checked({forbidden, temperature, top_k, top_p, min_p, likeliest})); },
          nb::arg("forbidden"), nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"),
          nb::arg("likeliest"));
  nb::class_<Barrier>(m, "Barrier", "Where the processes of one machine wait for each other: csrc/barrier.h.")
      .def_static("bytes", &Barrier::bytes, nb::arg("size"), "Bytes of memory, zero at first, that it needs.")
      .def(
          "__init__",
          [](Barrier* place, nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> memory, Index rank,
             Index size) {
            if (static_cast<Index>(memory.size()) < Barrier::bytes(size)) throw nb::value_error("too little memory");
            new (place) Barrier(memory.data(), rank, size);
          },
          nb::arg("memory").noconvert(), nb::arg("rank"), nb::arg("size"), nb::keep_alive<1, 2>())
      .def(
          "come", [](Barrier& barrier, const std::vector<double>& numbers) { barrier.come(numbers); },
          nb::arg("numbers"), "Come, with a few numbers: as many as the others.")
      .def("wait", &Barrier::wait, nb::arg("seconds"), nb::call_guard<nb::gil_scoped_release>(),
           "Whether all have come; waits for so long at most.")
      .def("sums", &Barrier::sums, "What all have come with, added in the order of their ranks.");
  m.def("choose", &choose, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("u"),
        "Return the symbol that u in [0, 1) chooses from logits (V).");
  m.def("shares", &shares, nb::arg("choice"), nb::arg("logits").noconvert(), nb::arg("p").noconvert(),
        "Write the unnormalised probabilities to draw from, given logits (V), to p (V) float64.");
  m.def(
      "log_sums", &log_sums, nb::arg("logits").noconvert(), nb::arg("sums").noconvert(),
      "Write log sum e^logits of each row of logits (N, V), float32 or float64, to sums (N) float64; NaN where a logit "
      "is NaN or +inf, or all are -inf.");
  m.def("buffer", &buffer, nb::arg("dtype"), nb::arg("shape"),
        "An uninitialised tensor of this shape whose memory is reused when it is gone.");
  m.def("release_workspace", &release_workspace, "Free the memory that is cached for later calls.");
  m.def("workspace_bytes", &workspace_bytes, "Bytes that running calls have and that are cached for later ones.");
  m.def("activate", &activate, nb::arg("function"), nb::arg("x").noconvert(), nb::arg("y").noconvert(),
        "Write sigmoid or tanh of x to y: the kernels' own versions.");
  m.def(
      "instruction_sets", [] { return names(supported_instruction_sets()); },
      "Names of the instruction sets that this processor can run, best first.");
  m.def(
      "compiled_instruction_sets", [] { return names(compiled_instruction_sets()); },
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
  m.def("processors", &processors, "How many threads of this process can run at a time.");
  m.def(
      "rehearse",
      [](std::int16_t processors, bool awaited, int delay, bool openmp) {
        rehearse({delay, processors, awaited, openmp});
      },
      nb::arg("processors") = 0, nb::arg("awaited") = false, nb::arg("delay") = 0, nb::arg("openmp") = false,
      "For tests: as if there were so many processors; calls begin when all their threads have come; threads come so "
      "many microseconds late to each piece of work, or if negative do none; they are OpenMP's.");
  m.def("items_helped", &items_helped, "Pieces of work that threads other than the callers' have done, ever.");
  m.def(
      "threads_awake", [] { return __builtin_popcountll(members_present()); },
      "The calling thread, and those of the core that wait for work or are at it.");
  m.def("processor_quota", &processor_quota, nb::arg("root"), nb::arg("groups"),
        "The processor quota of a container in whole processors, 0 if there is none.");
  m.def("choose_team", &team_of, nb::arg("T"), nb::arg("B"), nb::arg("recurrences"), nb::arg("panels"),
        nb::arg("recurrent"), nb::arg("rest"), nb::arg("bytes"), nb::arg("lanes"), nb::arg("allowed"),
        "How many threads would share a call, by what, in how many blocks of rows and of panels, and the nanoseconds "
        "that "
        "it is predicted to take.");
  m.def("crew", &crew, nb::arg("cell"), nb::arg("dtype"), nb::arg("T"), nb::arg("B"), nb::arg("I"), nb::arg("H"),
        nb::arg("P"), nb::arg("D"), nb::arg("symbols"), nb::arg("backward"), nb::arg("threads"),
        "The threads and the division that a call of a layer would use.");
}
