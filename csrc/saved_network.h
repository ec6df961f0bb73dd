// SPDX-License-Identifier: Apache-2.0
// The network in a model folder (unrolled/saved/network_folder.py): config.json and model.safetensors, checked.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"

namespace unrolled {

enum class StoredAs { float32, bfloat16, int8 };

// A matrix (rows, columns) or a vector (rows), widened to float32; for int8, its whole numbers and scales too.
struct SavedArray {
  Index rows = 0, columns = 0;
  std::vector<float> values;
  std::vector<std::int8_t> q;
  std::vector<float> scale;

  bool empty() const { return values.empty(); }
};

struct SavedLayer {
  CellKind cell;
  Index I, H, P;
  SavedArray W_ih, W_hh, b_ih, b_hh, W_hr, p;  // empty: there is none
  std::vector<float> h_0, c_0;                 // (P), (H); empty: zeros
};

struct SavedNetwork {
  StoredAs stored = StoredAs::float32;
  bool symbols = false;  // else vectors
  Index input = 0;       // V of symbols, I of vectors
  SavedArray embedding;  // (V, E), or empty
  std::vector<SavedLayer> layers;
  SavedArray head, head_bias;  // (V, P), (V); empty: there is none
  bool softmax = false;
};

// Throws std::runtime_error, naming the file and what is wrong with it.
SavedNetwork load_network(const std::string& folder);

}  // namespace unrolled
