// The kernels of bfloat16 beside those of float64 on the same numbers.  Prints for each result: case, name, largest
// error as a share of the largest value or of 1, and whether it is the bfloat16 nearest to that of float64 everywhere
// (test_types.py reads it).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "../../csrc/denormals.h"
#include "../../csrc/threads.h"
#include "layer_arrays.h"

namespace unrolled {
namespace {
constexpr int kRegisters = 16, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/baseline.h"
#define UNROLLED_BFLOAT16 "simd/bfloat16.h"
#define UNROLLED_INT8 "simd/int8.h"
#include "../../csrc/target-inl.h"

struct Options {
  CellKind cell;
  Index T, B, I, H, P, threads = 1;
  bool reverse = false, symbols = false, ragged = false;
  Index segment = 0;
};

// A number of every type, small enough that no recurrence is chaotic.
BFloat16 uniform() { return BFloat16(static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) / 2 - 0.25f); }

float value(BFloat16 number) { return static_cast<float>(number); }
double value(double number) { return number; }

template <class Storage>
void fill(std::vector<Storage>& numbers) {
  for (Storage& number : numbers) number = static_cast<Storage>(static_cast<float>(uniform()));
}

// Runs a layer forward and backward, on equal numbers for every type of storage.
template <class T>
class Layer {
  using Arrays = LayerArrays<typename T::Storage, typename T::Compute>;

 public:
  explicit Layer(const Options& o) : arrays_(sizes(o), fill<typename T::Storage>) {
    auto& call = arrays_.call;
    auto& recurrence = arrays_.recurrence;
    recurrence.reverse = o.reverse;
    for (Index k = 0; k < o.T * o.B; ++k) symbols_.push_back(std::rand() % o.I), reset_.push_back(std::rand() % 5 == 0);
    for (Index b = 0; b < o.B; ++b) lengths_.push_back(b == 0 ? o.T : 3 * b % (o.T + 1));
    if (o.symbols) recurrence.symbols = {symbols_.data(), o.B, 1}, arrays_.gradients.dx = {};
    if (o.ragged) call.lengths = lengths_.data(), call.reset = {reset_.data(), o.B, 1};
    for (const bool backward : {false, true}) {
      arrays_.choose_pass(backward);
      call.save = backward || !call.segment;
      run(static_cast<int>(o.threads));
    }
    results = arrays_.results;
  }

  std::vector<typename Arrays::Result> results;

 private:
  static CallOf<T> sizes(const Options& o) {
    std::srand(1);
    CallOf<T> call{};
    call.cell = o.cell, call.T = o.T, call.B = o.B, call.I = o.I, call.H = o.H, call.P = o.P, call.segment = o.segment;
    return call;
  }

  void run(int threads) {
    std::size_t bytes = 0;
    for (const int n : {1, threads}) bytes = std::max(bytes, kKernels<T>.scratch_bytes(arrays_.call, n));
    scratch_ = std::aligned_alloc(64, bytes + 64 - bytes % 64);
    run_team(
        threads,
        [](void* layer, const Team& team) {
          const Layer& l = *static_cast<Layer*>(layer);
          if (l.arrays_.call.gradients) return kKernels<T>.backward(l.arrays_.call, l.scratch_, team);
          kKernels<T>.forward(l.arrays_.call, l.scratch_, team);
        },
        this);
    std::free(scratch_);
  }

  Arrays arrays_;
  void* scratch_ = nullptr;
  std::vector<Index> symbols_, lengths_;
  std::vector<std::uint8_t> reset_;
};

// The head in training.
template <class T>
class Head {
  using Storage = typename T::Storage;
  using Sum = typename T::Sum;

 public:
  explicit Head(const Options& o) {
    std::srand(1);
    const Index N = o.B, H = o.H, V = o.I;
    for (auto [numbers, n] : {std::pair{&W_, V * H}, {&b_, V}, {&x_, N * H}}) {
      numbers->resize(static_cast<std::size_t>(n));
      fill(*numbers);
    }
    for (Index n = 0; n < N; ++n) targets_.push_back(std::rand() % (V + 1) - 1);
    dx_.resize(x_.size()), dW_.resize(W_.size()), db_.resize(b_.size());
    double nats;
    const HeadPass<Storage> pass{
        W_.data(), b_.data(), x_.data(), targets_.data(), dx_.data(), dW_.data(), db_.data(), &nats, N, H, V};
    void* scratch = std::aligned_alloc(64, kKernels<T>.head_bytes(pass, 1) / 64 * 64 + 64);
    kKernels<T>.head(pass, scratch, Team{});
    std::free(scratch);
    for (const Sum number : dW_) dW_stored_.push_back(static_cast<Storage>(number));
    for (const Sum number : db_) db_stored_.push_back(static_cast<Storage>(number));
    nats_ = {static_cast<Storage>(static_cast<Sum>(nats / static_cast<double>(N)))};
    results = {{"nats", &nats_}, {"dx", &dx_}, {"dW", &dW_stored_}, {"db", &db_stored_}};
  }

  std::vector<typename LayerArrays<Storage>::Result> results;

 private:
  std::vector<Storage> W_, b_, x_, dx_, dW_stored_, db_stored_, nats_;
  std::vector<Sum> dW_, db_;
  std::vector<Index> targets_;
};

template <template <class> class Part, class T>
void compare(const std::string& name, const Options& options) {
  const Part<T> got(options);
  const Part<F64> want(options);
  for (std::size_t k = 0; k < want.results.size(); ++k) {
    double error = 0, largest = 1;
    bool nearest = true;
    for (std::size_t i = 0; i < want.results[k].numbers->size(); ++i) {
      const double exact = (*want.results[k].numbers)[i], found = value((*got.results[k].numbers)[i]);
      error = std::fmax(error, std::fabs(found - exact)), largest = std::fmax(largest, std::fabs(exact));
      nearest = nearest && found == value(static_cast<typename T::Storage>(static_cast<float>(exact)));
    }
    std::printf("%s\t%s\t%.3g\t%d\n", name.c_str(), want.results[k].name, error / largest, nearest);
  }
}

}  // namespace
}  // namespace unrolled

int main() {
  using namespace unrolled;
  const char* names[] = {"RNN_TANH", "RNN_RELU", "LSTM", "GRU", "LSTM_PEEPHOLE"};
  for (const CellKind cell :
       {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::lstm, CellKind::gru, CellKind::lstm_peephole}) {
    const std::string name = names[static_cast<int>(cell)];
    compare<Layer, BF16>(name + " one step", {.cell = cell, .T = 1, .B = 3, .I = 4, .H = 9, .P = 9});
    compare<Layer, F32>(name + " one step in float32", {.cell = cell, .T = 1, .B = 3, .I = 4, .H = 9, .P = 9});
    Options o{.cell = cell, .T = 23, .B = 7, .I = 4, .H = 33, .P = 33};
    compare<Layer, BF16>(name, o);
    o.threads = 2, o.reverse = o.ragged = true;
    compare<Layer, BF16>(name + " ragged, reset, reverse, 2 threads", o);
    o.symbols = true;
    compare<Layer, BF16>(name + " one-hot", o);
    o.symbols = o.ragged = false, o.segment = 1, o.B = 40;
    compare<Layer, BF16>(name + " segments", o);
    if (cell == CellKind::lstm) o.segment = 0, o.P = 5, compare<Layer, BF16>(name + " projected", o);
  }
  compare<Head, BF16>("head", {.B = 300, .I = 13, .H = 9});
}
