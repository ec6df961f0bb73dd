// The kernels with float storage and double arithmetic, a combination that no build ships, beside those of float64 on
// the same numbers.  Prints for each result: case, name, largest error as a share of the largest value or of 1, and
// whether it is the float nearest to that of float64 everywhere (test_types.py reads it).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../csrc/denormals.h"
#include "../../csrc/threads.h"

namespace unrolled {
namespace {
constexpr int kRegisters = 16, kVectorBytes = 16;
#define UNROLLED_SIMD "simd/baseline.h"
#include "../../csrc/target-inl.h"

using Mixed = Types<float, double, double>;

struct Options {
  CellKind cell;
  Index T, B, I, H, P, threads = 1;
  bool reverse = false, symbols = false, ragged = false;
  Index segment = 0;
};

// Small enough that no recurrence is chaotic.
float uniform() { return static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) / 2 - 0.25f; }

template <class Storage>
struct Result {
  const char* name;
  std::vector<Storage>* numbers;
};

// One layer with its arrays; equal numbers for every type of storage.
template <class T>
class Layer {
  using Storage = typename T::Storage;

 public:
  explicit Layer(const Options& o) : threads_(static_cast<int>(o.threads)) {
    std::srand(1);
    const Index T_ = o.T, B = o.B, I = o.I, H = o.H, P = o.P, GH = gate_count(o.cell) * H, slots = saved_slots(o.cell);
    const Index Hp = padded<typename T::Compute>(H);
    const bool has_c = has_cell_state(o.cell), projected = P != H;
    auto& w = recurrence_.weights;
    w = {given(GH * I), given(GH * P), given(GH), given(GH), projected ? given(P * H) : nullptr};
    recurrence_.x = {given(T_ * B * I), B * I, I};
    for (Index k = 0; k < T_ * B; ++k) symbols_.push_back(std::rand() % I), reset_.push_back(std::rand() % 5 == 0);
    if (o.symbols) recurrence_.symbols = {symbols_.data(), B, 1};
    recurrence_.h_0 = given(B * P), recurrence_.c_0 = has_c ? given(B * H) : nullptr;
    recurrence_.y = {result("y", T_ * B * P), B * P, P};
    recurrence_.h_n = result("h_n", B * P), recurrence_.c_n = has_c ? result("c_n", B * H) : nullptr;
    gates_.resize(static_cast<std::size_t>(T_ * B * slots * Hp)), cells_.resize(static_cast<std::size_t>(T_ * B * Hp));
    recurrence_.gates = {gates_.data(), B * slots * Hp, slots * Hp};
    recurrence_.cells = {cells_.data(), B * Hp, Hp};
    recurrence_.reverse = o.reverse;
    gradients_.dy = {given(T_ * B * P), B * P, P};
    gradients_.dh_n = given(B * P), gradients_.dc_n = has_c ? given(B * H) : nullptr;
    if (!o.symbols) gradients_.dx = {result("dx", T_ * B * I), B * I, I};
    gradients_.dh_0 = result("dh_0", B * P), gradients_.dc_0 = has_c ? result("dc_0", B * H) : nullptr;
    gradients_.weights = {result("dW_ih", GH * I), result("dW_hh", GH * P), result("db_ih", GH), result("db_hh", GH),
                          projected ? result("dW_hr", P * H) : nullptr};
    call_ = {};
    call_.cell = o.cell, call_.T = T_, call_.B = B, call_.I = I, call_.H = H, call_.P = P;
    call_.recurrences = 1, call_.recurrence = &recurrence_, call_.segment = o.segment;
    for (Index b = 0; b < B; ++b) lengths_.push_back(b == 0 ? T_ : 3 * b % (T_ + 1));
    if (o.ragged) call_.lengths = lengths_.data(), call_.reset = {reset_.data(), B, 1};
    for (const bool backward : {false, true}) run(backward);
  }

  std::vector<Result<Storage>> results;

 private:
  void run(bool backward) {
    call_.gradients = backward ? &gradients_ : nullptr;
    call_.save = backward || !call_.segment;
    std::size_t bytes = 0;
    for (const int threads : {1, threads_}) bytes = std::max(bytes, kKernels<T>.scratch_bytes(call_, threads));
    scratch_ = std::aligned_alloc(64, bytes + 64 - bytes % 64);
    run_team(
        threads_,
        [](void* layer, const Team& team) {
          const Layer& l = *static_cast<Layer*>(layer);
          if (l.call_.gradients) return kKernels<T>.backward(l.call_, l.scratch_, team);
          kKernels<T>.forward(l.call_, l.scratch_, team, false);
        },
        this);
    std::free(scratch_);
  }

  Storage* take(Index n) {
    arrays_.push_back(new std::vector<Storage>(static_cast<std::size_t>(n)));  // never freed: the program is short
    return arrays_.back()->data();
  }
  Storage* given(Index n) {
    Storage* numbers = take(n);
    for (Index k = 0; k < n; ++k) numbers[k] = uniform();
    return numbers;
  }
  Storage* result(const char* name, Index n) {
    Storage* numbers = take(n);
    results.push_back({name, arrays_.back()});
    return numbers;
  }

  int threads_;
  void* scratch_ = nullptr;
  std::vector<std::vector<Storage>*> arrays_;
  std::vector<Storage> gates_;
  std::vector<typename T::Compute> cells_;
  std::vector<Index> symbols_, lengths_;
  std::vector<std::uint8_t> reset_;
  RecurrenceOf<T> recurrence_{};
  Gradients<Storage> gradients_{};
  CallOf<T> call_;
};

// The head in training.
template <class T>
class Head {
  using Storage = typename T::Storage;

 public:
  explicit Head(const Options& o) {
    std::srand(1);
    const Index N = o.B, H = o.H, V = o.I;
    const auto fill = [](std::vector<Storage>& to, Index n) {
      for (Index k = 0; k < n; ++k) to.push_back(uniform());
    };
    fill(W_, V * H), fill(b_, V), fill(x_, N * H);
    for (Index n = 0; n < N; ++n) targets_.push_back(std::rand() % (V + 1) - 1);
    dx_.resize(x_.size()), dW_.resize(W_.size()), db_.resize(b_.size());
    double nats;
    const HeadPass<Storage> pass{
        W_.data(), b_.data(), x_.data(), targets_.data(), dx_.data(), dW_.data(), db_.data(), &nats, N, H, V};
    void* scratch = std::aligned_alloc(64, kKernels<T>.head_bytes(pass, 1) / 64 * 64 + 64);
    kKernels<T>.head(pass, scratch, Team{0, 1, nullptr});
    std::free(scratch);
    nats_ = {static_cast<Storage>(nats / static_cast<double>(N))};
    results = {{"nats", &nats_}, {"dx", &dx_}, {"dW", &dW_}, {"db", &db_}};
  }

  std::vector<Result<Storage>> results;

 private:
  std::vector<Storage> W_, b_, x_, dx_, dW_, db_, nats_;
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
      const double exact = (*want.results[k].numbers)[i], found = (*got.results[k].numbers)[i];
      error = std::fmax(error, std::fabs(found - exact)), largest = std::fmax(largest, std::fabs(exact));
      nearest = nearest && found == static_cast<float>(exact);
    }
    std::printf("%s\t%s\t%.3g\t%d\n", name.c_str(), want.results[k].name, error / largest, nearest);
  }
}

}  // namespace
}  // namespace unrolled

int main() {
  using namespace unrolled;
  const char* names[] = {"RNN_TANH", "RNN_RELU", "LSTM", "GRU"};
  for (const CellKind cell : {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::lstm, CellKind::gru}) {
    const std::string name = names[static_cast<int>(cell)];
    compare<Layer, Mixed>(name + " one step", {.cell = cell, .T = 1, .B = 3, .I = 4, .H = 9, .P = 9});
    compare<Layer, F32>(name + " one step in float32", {.cell = cell, .T = 1, .B = 3, .I = 4, .H = 9, .P = 9});
    Options o{.cell = cell, .T = 23, .B = 7, .I = 4, .H = 33, .P = 33};
    compare<Layer, Mixed>(name, o);
    o.threads = 2, o.reverse = o.ragged = true;
    compare<Layer, Mixed>(name + " ragged, reset, reverse, 2 threads", o);
    o.symbols = true;
    compare<Layer, Mixed>(name + " one-hot", o);
    o.symbols = o.ragged = false, o.segment = 1, o.B = 40;
    compare<Layer, Mixed>(name + " segments", o);
    if (cell == CellKind::lstm) o.segment = 0, o.P = 5, compare<Layer, Mixed>(name + " projected", o);
  }
  compare<Head, Mixed>("head", {.B = 300, .I = 13, .H = 9});
}
