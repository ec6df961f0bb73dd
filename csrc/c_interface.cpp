// SPDX-License-Identifier: Apache-2.0
// The C interface of the runtime (unrolled/include/unrolled.h): a saved network on the steppers of the core.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <unrolled.h>
#include "dispatch.h"
#include "saved_network.h"
#include "stepper.h"

#ifndef UNROLLED_VERSION
#define UNROLLED_VERSION "0.0.0"  // of a build outside the package
#endif

namespace unrolled {
namespace {

thread_local char last_error[512] = "";

// Runs `body`, and turns what it throws into the error of this thread and `failed`.
template <class Result, class Body>
Result guarded(Result failed, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception& error) {
    std::snprintf(last_error, sizeof last_error, "%s", error.what());
  } catch (...) {
    std::snprintf(last_error, sizeof last_error, "an error without words");
  }
  return failed;
}

template <class Real>
std::vector<Real> as(const std::vector<float>& values) {
  std::vector<Real> found;
  found.reserve(values.size());
  for (const float value : values) found.push_back(static_cast<Real>(value));
  return found;
}

// A weight as the kernels read it, kept until it is packed.
template <class Real>
class Kept {
 public:
  const Real* of(const SavedArray& array) {
    return array.empty() ? nullptr : arrays_.emplace_back(as<Real>(array.values)).data();
  }

 private:
  std::deque<std::vector<Real>> arrays_;
};

Int8Matrix int8_of(const SavedArray& array) { return {array.q.data(), array.scale.data()}; }

template <class Real>
std::shared_ptr<const Stack<Real>> packed(const SavedNetwork& network, const StepKernels<Real>& kernels,
                                          const StepKernels<Real>& plain) {
  const bool int8 = network.stored == StoredAs::int8;
  auto stack = std::make_shared<Stack<Real>>(kernels, network.symbols);
  for (const SavedLayer& saved : network.layers) {
    const bool first = stack->layers().empty();
    Kept<Real> kept;
    StackLayer<Real> layer{saved.cell, saved.I, saved.H, saved.P, {}, {}};
    const auto of = [&](const SavedArray& array) { return kept.of(array); };
    layer.weights = {of(saved.W_ih), of(saved.W_hh), of(saved.b_ih), of(saved.b_hh), of(saved.W_hr), of(saved.p)};
    if (int8) layer.int8 = {int8_of(saved.W_ih), int8_of(saved.W_hh), int8_of(saved.W_hr)};
    std::vector<Real> columns;
    if (first && !network.embedding.empty()) {
      const Index V = network.embedding.rows, E = network.embedding.columns;
      columns = embedded(plain, layer.weights.W_ih, gate_count(saved.cell) * saved.H, of(network.embedding), V, E);
      layer.weights.W_ih = columns.data(), layer.I = V;
    }
    stack->add(layer);
  }
  if (!network.head.empty()) {
    Kept<Real> kept;
    SavedArray zeros;
    zeros.values.resize(static_cast<std::size_t>(network.head.rows));
    Linear<Real> head{};
    head.W = kept.of(network.head);
    head.b = kept.of(network.head_bias.empty() ? zeros : network.head_bias);
    head.V = network.head.rows, head.H = network.head.columns;
    if (int8) head.int8 = int8_of(network.head);
    stack->add_head(head);
  }
  return stack;
}

using Narrow = std::shared_ptr<const Stack<BFloat16>>;
using Wide = std::shared_ptr<const Stack<float>>;

// What streams need from a model; it does not change.
struct Shared {
  std::variant<Wide, Narrow> stack;
  bool symbols, softmax;
  std::size_t input, width;
  std::vector<float> initial;  // the state of a row

  explicit Shared(const SavedNetwork& network) : symbols(network.symbols), softmax(network.softmax) {
    const InstructionSet& set = active_instruction_set();
    if (network.stored == StoredAs::bfloat16) {
      stack = packed(network, *set.bf16, *set.bf16);
    } else {
      stack = packed(network, network.stored == StoredAs::int8 ? *set.int8 : *set.f32, *set.f32);
    }
    input = static_cast<std::size_t>(network.input);
    width = static_cast<std::size_t>(network.head.empty() ? network.layers.back().P : network.head.rows);
    const auto append = [&](const std::vector<float>& state, Index n) {
      for (Index k = 0; k < n; ++k) {
        const float s = state.empty() ? 0 : state[k];
        initial.push_back(network.stored == StoredAs::bfloat16 ? static_cast<float>(BFloat16(s)) : s);
      }
    };
    for (const SavedLayer& layer : network.layers) {
      append(layer.h_0, layer.P);
      if (has_cell_state(layer.cell)) append(layer.c_0, layer.H);
    }
  }
};

}  // namespace
}  // namespace unrolled

using namespace unrolled;

struct unrolled_model {
  std::shared_ptr<const Shared> shared;
};

struct unrolled_stream {
  using Any = std::variant<std::unique_ptr<Stepper<float>>, std::unique_ptr<Stepper<BFloat16>>>;

  unrolled_stream(std::shared_ptr<const Shared> model, Index rows) : shared(std::move(model)), rows(rows) {
    std::visit(
        [&]<class Real>(const std::shared_ptr<const Stack<Real>>& stack) {
          stepper = std::make_unique<Stepper<Real>>(stack, rows);
        },
        shared->stack);
    visit([&](auto& s) { output = (s.V() ? s.logits() : s.output()).data(); });
    if (shared->softmax) softmax.resize(static_cast<std::size_t>(rows) * shared->width), output = softmax.data();
    for (Index row = 0; row < rows; ++row) set(row, shared->initial.data());
  }

  template <class Body>
  void visit(Body body) const {
    std::visit([&](const auto& s) { body(*s); }, stepper);
  }

  // body(where the kernels have a part of the row's state, how many numbers)
  template <class Body>
  void each_part(Index row, Body body) const {
    visit([&](auto& s) {
      for (const auto& layer : s.layers()) {
        body(layer.h.seen().data() + row * layer.call.P, layer.call.P);
        if (layer.c) body(layer.c->data() + row * layer.call.H, layer.call.H);
      }
    });
  }
  void set(Index row, const float* state) const {
    each_part(row, [&](float* part, Index n) {
      std::copy_n(state, n, part);
      state += n;
    });
  }

  template <class Input>
  void step(const Input* x) {
    visit([&](auto& s) { s.step(x); });
    if (shared->softmax) normalise();
  }

  // softmax(logits) of each row.
  void normalise() {
    const auto V = static_cast<Index>(shared->width);
    const float* logits = nullptr;
    visit([&](auto& s) { logits = s.logits().data(); });
    for (Index row = 0; row < rows; ++row) {
      const float* from = logits + row * V;
      float* to = softmax.data() + row * V;
      const float most = *std::max_element(from, from + V);
      double sum = 0;
      for (Index v = 0; v < V; ++v) sum += to[v] = std::exp(from[v] - most);
      for (Index v = 0; v < V; ++v) to[v] = static_cast<float>(to[v] / sum);
    }
  }

  template <class Input>
  int feed(const Input* x, std::size_t wide, std::size_t steps, float* y) {
    return guarded(-1, [&] {
      const std::size_t given = static_cast<std::size_t>(rows);
      for (std::size_t t = 0; t < steps; ++t, x += given * wide) {
        step(x);
        if (y) y = std::copy_n(output, given * shared->width, y);
      }
      return 0;
    });
  }

  bool reads(bool symbols) const {
    if (shared->symbols == symbols) return true;
    std::snprintf(
        last_error, sizeof last_error, "this model reads %s, expected %s", shared->symbols ? "symbols" : "vectors",
        shared->symbols ? "unrolled_step_symbols or unrolled_feed_symbols" : "unrolled_step or unrolled_feed");
    return false;
  }
  bool has(std::size_t row) const {
    if (row < static_cast<std::size_t>(rows)) return true;
    std::snprintf(last_error, sizeof last_error, "row %zu of a stream of %zu", row, static_cast<std::size_t>(rows));
    return false;
  }

  const std::shared_ptr<const Shared> shared;
  const Index rows;
  Any stepper;
  const float* output = nullptr;  // (rows, width)
  std::vector<float> softmax;     // (rows, width), where the model ends in one
};

extern "C" {

const char* unrolled_version(void) { return UNROLLED_VERSION; }
const char* unrolled_error(void) { return last_error; }

unrolled_model* unrolled_load(const char* folder) {
  return guarded<unrolled_model*>(nullptr, [&] {
    if (!folder) throw std::invalid_argument("unrolled_load: the folder is NULL");
    return new unrolled_model{std::make_shared<const Shared>(load_network(folder))};
  });
}
void unrolled_free(unrolled_model* model) { delete model; }

int unrolled_reads_symbols(const unrolled_model* model) { return model->shared->symbols; }
size_t unrolled_input(const unrolled_model* model) { return model->shared->input; }
size_t unrolled_width(const unrolled_model* model) { return model->shared->width; }
size_t unrolled_state_size(const unrolled_model* model) { return model->shared->initial.size(); }

unrolled_stream* unrolled_open(const unrolled_model* model, size_t rows) {
  return guarded<unrolled_stream*>(nullptr, [&] {
    if (rows < 1 || rows > PTRDIFF_MAX / 2)
      throw std::invalid_argument("unrolled_open: expected at least one row, and fewer");
    return new unrolled_stream(model->shared, static_cast<Index>(rows));
  });
}
void unrolled_close(unrolled_stream* stream) { delete stream; }

int unrolled_step(unrolled_stream* stream, const float* x) { return unrolled_feed(stream, x, 1, nullptr); }
int unrolled_step_symbols(unrolled_stream* stream, const int64_t* symbols) {
  return unrolled_feed_symbols(stream, symbols, 1, nullptr);
}
int unrolled_feed(unrolled_stream* stream, const float* x, size_t steps, float* y) {
  return stream->reads(false) ? stream->feed(x, stream->shared->input, steps, y) : -1;
}
int unrolled_feed_symbols(unrolled_stream* stream, const int64_t* symbols, size_t steps, float* y) {
  static_assert(sizeof(int64_t) == sizeof(Index));
  return stream->reads(true) ? stream->feed(reinterpret_cast<const Index*>(symbols), 1, steps, y) : -1;
}

const float* unrolled_output(const unrolled_stream* stream) { return stream->output; }

void unrolled_reset(unrolled_stream* stream) {
  for (Index row = 0; row < stream->rows; ++row) stream->set(row, stream->shared->initial.data());
}
int unrolled_reset_row(unrolled_stream* stream, size_t row) {
  return unrolled_set_state(stream, row, stream->shared->initial.data());
}

int unrolled_get_state(const unrolled_stream* stream, size_t row, float* state) {
  if (!stream->has(row)) return -1;
  stream->each_part(static_cast<Index>(row), [&](const float* part, Index n) { state = std::copy_n(part, n, state); });
  return 0;
}
int unrolled_set_state(unrolled_stream* stream, size_t row, const float* state) {
  if (!stream->has(row)) return -1;
  stream->set(static_cast<Index>(row), state);
  return 0;
}

}  // extern "C"
