// Runs layers on teams whose members are all there, come late or never come, from several callers at once, and compares
// the bits with one thread's.  `make tsan` runs it under the thread sanitizer.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "../../csrc/request.h"
#include "layer_arrays.h"

using namespace unrolled;

namespace {

struct Sizes {
  CellKind cell;
  Index T, B, I, H, P;
};

// Divided by rows, by the panels of each step, with a projection, and in several chunks.
constexpr Sizes kSizes[] = {
    {CellKind::gru, 23, 29, 27, 47, 47},
    {CellKind::lstm, 41, 2, 37, 211, 211},
    {CellKind::lstm, 23, 3, 37, 109, 54},
    {CellKind::rnn_tanh, 83, 29, 7, 127, 127},
};

// Every result of one call of both passes.
std::vector<std::vector<float>> run(const Sizes& sizes, int threads) {
  unsigned seed = 1;
  Call<float> call{};
  call.cell = sizes.cell, call.T = sizes.T, call.B = sizes.B, call.I = sizes.I, call.H = sizes.H, call.P = sizes.P;
  call.save = true;
  LayerArrays<float> layer(call, [&](std::vector<float>& numbers) {
    for (float& x : numbers) x = static_cast<float>((seed = seed * 1664525 + 1013904223) >> 8) / (1 << 24) - 0.5f;
  });
  for (const bool backward : {false, true}) {
    layer.choose_pass(backward);
    run_call(*active_kernels().f32, layer.call, threads);
  }
  std::vector<std::vector<float>> results;
  for (const auto& result : layer.results) results.push_back(*result.numbers);
  return results;
}

void compare(const Sizes& sizes, const std::vector<std::vector<float>>& want, int threads) {
  const auto got = run(sizes, threads);
  for (std::size_t k = 0; k < want.size(); ++k) {
    if (std::memcmp(got[k].data(), want[k].data(), want[k].size() * sizeof(float)) != 0) {
      std::fprintf(stderr, "result %zu of H %ld on %d threads differs\n", k, long(sizes.H), threads);
      std::exit(1);
    }
  }
}

}  // namespace

int main() {
  for (const Sizes& sizes : kSizes) {
    rehearse({});
    const auto want = run(sizes, 1);
    for (const std::int16_t members : {2, 4}) {
      for (const Rehearsal& how : {Rehearsal{0, members, true}, Rehearsal{0, members, false},
                                   Rehearsal{100, members, true}, Rehearsal{-1, members, true}}) {
        rehearse(how);
        for (int k = 0; k < 3; ++k) compare(sizes, want, members);
      }
    }
    rehearse({0, 3, false});
    std::vector<std::thread> callers;
    for (int k = 0; k < 3; ++k) callers.emplace_back([&] { compare(sizes, want, 3); });
    for (std::thread& caller : callers) caller.join();
  }
  std::printf("no difference, %llu items by others\n", static_cast<unsigned long long>(items_helped()));
  return items_helped() > 0 ? 0 : 1;
}
