// Runs one layer forward and backward, from a file of numbers to a file of numbers: the core without Python, for
// processors that there is only an emulator of (test_neon.py writes the one file and reads the other).
//
//   driver INSTRUCTION_SET CASE RESULT
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../csrc/request.h"

using namespace unrolled;

namespace {

std::FILE* open(const char* path, const char* mode) {
  std::FILE* file = std::fopen(path, mode);
  if (!file) std::exit((std::perror(path), 2));
  return file;
}

void read_integers(std::FILE* in, Integers& to) {
  if (std::fread(to.data(), sizeof(Index), to.size(), in) != to.size()) std::exit(2);
}

template <class Real>
class Layer {
 public:
  Layer(std::FILE* in, const Integers& fields) : call(read_struct<Call<Real>>(fields)) {
    const Index T = call.T, B = call.B, I = call.I, H = call.H, P = call.P;
    const Index GH = gate_count(call.cell) * H, Hp = padded<Real>(H);
    const bool lstm = has_cell_state(call.cell);
    net.weights.W_ih = read(in, GH * I), net.weights.W_hh = read(in, GH * P);
    net.weights.b_ih = read(in, GH), net.weights.b_hh = read(in, GH);
    net.weights.W_hr = P != H ? read(in, P * H) : nullptr;
    net.x = {read(in, T * B * I), B * I, I};
    net.h_0 = read(in, B * P), net.c_0 = lstm ? read(in, B * H) : nullptr;
    back.dy = {read(in, T * B * P), B * P, P};
    back.dh_n = read(in, B * P), back.dc_n = lstm ? read(in, B * H) : nullptr;

    net.y = {result(T * B * P), B * P, P};
    net.h_n = result(B * P), net.c_n = lstm ? result(B * H) : nullptr;
    back.dx = {result(T * B * I), B * I, I};
    back.dh_0 = result(B * P), back.dc_0 = lstm ? result(B * H) : nullptr;
    back.weights.W_ih = result(GH * I), back.weights.W_hh = result(GH * P);
    back.weights.b_ih = result(GH), back.weights.b_hh = result(GH);
    back.weights.W_hr = P != H ? result(P * H) : nullptr;
    const Index slots = saved_slots(call.cell);
    net.gates = {take(T * B * slots * Hp), B * slots * Hp, slots * Hp};
    net.cells = {take(T * B * Hp), B * Hp, Hp};
    call.recurrences = 1;
    call.recurrence = &net;
  }

  void run(const Kernels<Real>& kernels, int threads) {
    for (const bool backward : {false, true}) {
      call.gradients = backward ? &back : nullptr;
      run_call(kernels, call, threads);
    }
  }

  void write(std::FILE* out) const {
    for (const std::vector<Real>* numbers : results_) std::fwrite(numbers->data(), sizeof(Real), numbers->size(), out);
  }

 private:
  Real* take(Index n) {
    arrays_.push_back(new std::vector<Real>(static_cast<std::size_t>(n)));
    return arrays_.back()->data();
  }
  Real* result(Index n) {
    Real* numbers = take(n);
    results_.push_back(arrays_.back());
    return numbers;
  }
  Real* read(std::FILE* in, Index n) {
    Real* numbers = take(n);
    if (std::fread(numbers, sizeof(Real), static_cast<std::size_t>(n), in) != static_cast<std::size_t>(n)) {
      std::exit((std::fputs("driver: the case is too short\n", stderr), 2));
    }
    return numbers;
  }

  std::vector<std::vector<Real>*> arrays_, results_;  // never freed: the program ends after one run
  Recurrence<Real> net{};
  Gradients<Real> back{};
  Call<Real> call;
};

template <class Real>
void run(std::FILE* in, std::FILE* out, int threads, const Kernels<Real>& kernels) {
  Integers fields(kIntegers<Call<Real>>);
  read_integers(in, fields);
  Layer<Real> layer(in, fields);
  layer.run(kernels, threads);
  layer.write(out);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  force_instruction_set(arguments[1]);
  const InstructionSet& set = active_instruction_set();
  std::FILE *in = open(arguments[2], "rb"), *out = open(arguments[3], "wb");
  Integers sizes(2);  // bytes of a number, threads
  read_integers(in, sizes);
  const int threads = static_cast<int>(sizes[1]);
  if (sizes[0] == 8) {
    run(in, out, threads, set.f64);
  } else {
    run(in, out, threads, set.f32);
  }
  return std::fclose(out);
}
