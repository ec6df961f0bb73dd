// SPDX-License-Identifier: Apache-2.0
// Times the core without Python: whole layers and single steps, beside the machine's own limits.
//
//   cmake -S . -B build/bench -DUNROLLED_BENCH=ON && cmake --build build/bench --target bench_kernels
//   build/bench/bench_kernels [threads]            the table
//   build/bench/bench_kernels step                 single steps, weights packed once
//   build/bench/bench_kernels limits [threads]     what the machine itself can do, as JSON
//   build/bench/bench_kernels CELL B T I H threads [reps]   one shape, for a profiler
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../csrc/request.h"
#include "limits.h"

using namespace unrolled;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class Body>
double median_seconds(int reps, Body body) {
  std::vector<double> times;
  for (int k = 0; k < reps; ++k) {
    const double start = seconds();
    body();
    times.push_back(seconds() - start);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

const char* name_of(CellKind cell) { return cell == CellKind::lstm ? "LSTM" : cell == CellKind::gru ? "GRU" : "RNN"; }

// One layer with its arrays; weights small and random, as at the start of training.
class Layer {
 public:
  Layer(CellKind cell, Index B, Index T, Index I, Index H) {
    const Index G = gate_count(cell), Hp = padded<float>(H), slots = saved_slots(cell);
    auto filled = [&](std::vector<float>& v, Index n, float scale) {
      v.resize(static_cast<std::size_t>(n));
      for (float& e : v) e = scale * (static_cast<float>(std::rand()) / RAND_MAX - 0.5f);
    };
    filled(W_ih, G * H * I, 0.2f), filled(W_hh, G * H * H, 0.2f), filled(bias, G * H, 0.1f);
    filled(x, T * B * I, 1), filled(dy, T * B * H, 1), filled(state, B * H, 1);
    filled(y, T * B * H, 0), filled(h_n, B * H, 0), filled(c_n, B * H, 0), filled(dx, T * B * I, 0);
    filled(gates, T * B * slots * Hp, 0), filled(cells, has_cell_state(cell) ? T * B * Hp : 0, 0);
    filled(dW_ih, G * H * I, 0), filled(dW_hh, G * H * H, 0), filled(db, 2 * G * H, 0);
    recurrence.weights = {W_ih.data(), W_hh.data(), bias.data(), bias.data(), nullptr};
    recurrence.x = {x.data(), B * I, I};
    recurrence.h_0 = state.data(), recurrence.c_0 = has_cell_state(cell) ? state.data() : nullptr;
    recurrence.y = {y.data(), B * H, H};
    recurrence.h_n = h_n.data(), recurrence.c_n = c_n.data();
    recurrence.gates = {gates.data(), B * slots * Hp, slots * Hp};
    recurrence.cells = {cells.data(), B * Hp, Hp};
    gradients.dy = {dy.data(), B * H, H};
    gradients.dx = {dx.data(), B * I, I};
    gradients.weights = {dW_ih.data(), dW_hh.data(), db.data(), db.data() + G * H, nullptr};
    call.cell = cell, call.T = T, call.B = B, call.I = I, call.H = H, call.P = H, call.recurrences = 1,
    call.recurrence = &recurrence;
    flops = 2.0 * G * H * (I + H) * T * B;
  }

  void forward(bool save, int threads) {
    call.gradients = nullptr;
    call.save = save;
    run(threads);
  }
  void backward(int threads) {
    call.gradients = &gradients;
    call.save = true;
    run(threads);
  }

  // One time step after another, weights packed once: ns a step.
  double step_ns(int steps) {
    const auto& kernels = *active_instruction_set().f32;
    call.gradients = nullptr;
    call.save = false;
    call.reused = true;
    const StepBytes bytes = kernels.bytes(call);
    const Lease weights(bytes.weights), own(bytes.own);
    kernels.prepare(call, weights.data(), own.data(), /*pack=*/true);
    const double s = median_seconds(21, [&] {
      for (int k = 0; k < steps; ++k) kernels.step(own.data());
    });
    return s / steps * 1e9;
  }

  double flops;

 private:
  void run(int allowed) { run_call(*active_kernels().f32, call, allowed); }

  std::vector<float> W_ih, W_hh, bias, x, dy, state, y, h_n, c_n, dx, gates, cells, dW_ih, dW_hh, db;
  Recurrence<float> recurrence{};
  Gradients<float> gradients{};
  Call<float> call{};
};

void measure(CellKind cell, Index B, Index T, Index I, Index H, int threads, int reps) {
  Layer layer(cell, B, T, I, H);
  const double f = median_seconds(reps, [&] { layer.forward(false, threads); });
  const double k = median_seconds(reps, [&] { layer.forward(true, threads); });
  const double b = median_seconds(reps, [&] { layer.backward(threads); });
  std::printf(
      "%-4s B%-4ld T%-4ld I%-4ld H%-4ld %d threads  forward %9.3f ms %6.1f GFLOP/s  save %9.3f ms  backward %9.3f ms "
      "%6.1f GFLOP/s\n",
      name_of(cell), long(B), long(T), long(I), long(H), threads, f * 1e3, layer.flops / f / 1e9, k * 1e3, b * 1e3,
      2 * layer.flops / b / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 7) {
    const std::string cell = argv[1];
    measure(cell == "LSTM"  ? CellKind::lstm
            : cell == "GRU" ? CellKind::gru
                            : CellKind::rnn_tanh,
            std::atol(argv[2]), std::atol(argv[3]), std::atol(argv[4]), std::atol(argv[5]), std::atoi(argv[6]),
            argc > 7 ? std::atoi(argv[7]) : 15);
    return 0;
  }
  if (argc == 2 && std::string(argv[1]) == "step") {
    for (const CellKind cell : {CellKind::lstm, CellKind::gru, CellKind::rnn_tanh}) {
      for (const Index H : {8, 16, 32, 64, 128, 256, 512}) {
        std::printf("%-4s H%-4ld one step %8.0f ns\n", name_of(cell), long(H), Layer(cell, 1, 1, H, H).step_ns(1000));
      }
    }
    return 0;
  }
  if (argc >= 2 && std::string(argv[1]) == "limits") {
    print_limits(argc > 2 ? std::atoi(argv[2]) : 1);
    return 0;
  }
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::printf("instruction set %s\n", active_instruction_set().name);
  for (const CellKind cell : {CellKind::lstm, CellKind::gru, CellKind::rnn_tanh}) {
    for (const Index H : {64, 128, 256, 512}) measure(cell, 32, 100, H, H, threads, 9);
    for (const Index H : {64, 256}) measure(cell, 1, 100, H, H, threads, 9);
  }
  return 0;
}
