// Runs one layer forward and backward without Python, for processors that are only emulated: test_neon.py writes the
// file of inputs and reads the file of results.
//
//   driver INSTRUCTION_SET CASE RESULT
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../csrc/request.h"
#include "layer_arrays.h"

using namespace unrolled;

namespace {

std::FILE* open(const char* path, const char* mode) {
  std::FILE* file = std::fopen(path, mode);
  if (!file) std::exit((std::perror(path), 2));
  return file;
}

Index read_integer(std::FILE* in) {
  Index read = 0;
  if (std::fread(&read, sizeof read, 1, in) != 1) std::exit(2);
  return read;
}

template <class Real>
void run(std::FILE* in, std::FILE* out, int threads, const Kernels<Real>& kernels) {
  Call<Real> sizes{};
  sizes.cell = static_cast<CellKind>(read_integer(in));
  for (Index* size : {&sizes.T, &sizes.B, &sizes.I, &sizes.H, &sizes.P}) *size = read_integer(in);
  sizes.save = true;
  LayerArrays<Real> layer(sizes, [in](std::vector<Real>& numbers) {
    if (std::fread(numbers.data(), sizeof(Real), numbers.size(), in) != numbers.size()) {
      std::exit((std::fputs("driver: the case is too short\n", stderr), 2));
    }
  });
  for (const bool backward : {false, true}) {
    layer.choose_pass(backward);
    run_call(kernels, layer.call, threads);
  }
  for (const auto& result : layer.results) {
    std::fwrite(result.numbers->data(), sizeof(Real), result.numbers->size(), out);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  force_instruction_set(arguments[1]);
  const KernelSet& set = active_kernels();
  std::FILE *in = open(arguments[2], "rb"), *out = open(arguments[3], "wb");
  const Index bytes = read_integer(in);  // of a number
  const int threads = static_cast<int>(read_integer(in));
  if (bytes == 8) {
    run(in, out, threads, *set.f64);
  } else if (bytes == 4) {
    run(in, out, threads, *set.f32);
  } else {
    run(in, out, threads, *set.bf16);
  }
  return std::fclose(out);
}
