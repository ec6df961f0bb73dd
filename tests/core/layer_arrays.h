// One layer of one recurrence with its arrays, for the programs of this folder.
#pragma once
#include <vector>

#include "../../csrc/kernels.h"

namespace unrolled {

template <class Storage, class Compute = Computed<Storage>>
class LayerArrays {
 public:
  struct Result {
    const char* name;
    std::vector<Storage>* numbers;
  };

  Call<Storage, Compute> call;
  Recurrence<Storage, Compute> recurrence{};
  Gradients<Storage> gradients{};
  std::vector<Result> results;  // of both passes, in the order of test_neon.py

  // `fill` writes the numbers of one input after the other: the weights, x, the states, then the gradients of the
  // outputs.
  template <class Fill>
  LayerArrays(const Call<Storage, Compute>& sizes, Fill fill) : call(sizes) {
    const Index T = call.T, B = call.B, I = call.I, H = call.H, P = call.P;
    const Index GH = gate_count(call.cell) * H, Hp = padded<Compute>(H), slots = saved_slots(call.cell);
    const bool has_c = has_cell_state(call.cell), projected = P != H, peepholes = call.cell == CellKind::lstm_peephole;
    const auto given = [&](Index n, bool wanted = true) -> const Storage* {
      if (!wanted) return nullptr;
      fill(*take(n));
      return arrays_.back()->data();
    };
    const auto result = [&](const char* name, Index n, bool wanted = true) -> Storage* {
      if (!wanted) return nullptr;
      results.push_back({name, take(n)});
      return arrays_.back()->data();
    };
    recurrence.weights = {given(GH * I), given(GH * P),           given(GH),
                          given(GH),     given(P * H, projected), given(3 * H, peepholes)};
    recurrence.x = {given(T * B * I), B * I, I};
    recurrence.h_0 = given(B * P);
    if (const Storage* c_0 = given(B * H, has_c)) {
      for (Index k = 0; k < B * H; ++k) c_0_.push_back(static_cast<Compute>(c_0[k]));
      recurrence.c_0 = c_0_.data();
    }
    gradients.dy = {given(T * B * P), B * P, P};
    gradients.dh_n = given(B * P), gradients.dc_n = given(B * H, has_c);
    recurrence.y = {result("y", T * B * P), B * P, P};
    recurrence.h_n = result("h_n", B * P);
    c_n_stored_ = result("c_n", B * H, has_c);
    c_n_.resize(has_c ? static_cast<std::size_t>(B * H) : 0);
    recurrence.c_n = c_n_.data();
    gradients.dx = {result("dx", T * B * I), B * I, I};
    gradients.dh_0 = result("dh_0", B * P), gradients.dc_0 = result("dc_0", B * H, has_c);
    gradients.weights = {result("dW_ih", GH * I), result("dW_hh", GH * P),           result("db_ih", GH),
                         result("db_hh", GH),     result("dW_hr", P * H, projected), result("dp", 3 * H, peepholes)};
    recurrence.gates = {take(T * B * slots * Hp)->data(), B * slots * Hp, slots * Hp};
    cells_.resize(static_cast<std::size_t>(T * B * Hp));
    recurrence.cells = {cells_.data(), B * Hp, Hp};
    call.recurrences = 1;
    call.recurrence = &recurrence;
  }
  LayerArrays(const LayerArrays&) = delete;

  // Without gradients the call is the forward pass, which comes first.
  void choose_pass(bool backward) {
    call.gradients = backward ? &gradients : nullptr;
    for (std::size_t k = 0; backward && k < c_n_.size(); ++k) c_n_stored_[k] = static_cast<Storage>(c_n_[k]);
  }

 private:
  std::vector<Storage>* take(Index n) {
    arrays_.push_back(new std::vector<Storage>(static_cast<std::size_t>(n)));  // never freed: the programs are short
    return arrays_.back();
  }

  std::vector<std::vector<Storage>*> arrays_;
  std::vector<Compute> cells_, c_0_, c_n_;
  Storage* c_n_stored_;
};

}  // namespace unrolled
