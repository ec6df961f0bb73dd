// SPDX-License-Identifier: Apache-2.0
// From logits to the next symbol: the sampling rules.
#pragma once
#include <vector>

#include "kernels.h"

namespace unrolled {

// The rules, in the order in which they apply.
struct Choice {
  Index forbidden = -1;    // a symbol that is never chosen, UNK; -1: none
  double temperature = 1;  // divides the logits
  Index top_k = 0;         // keep the k likeliest, and those that tie with the last of them; 0: all
  double top_p = 1;        // keep the likeliest that together reach this probability (Holtzman et al. 2020)
  double min_p = 0;        // keep what is at least min_p times as likely as the likeliest (Nguyen et al. 2024)
  bool likeliest = false;  // no draw: the likeliest symbol, the first of equals
};

// The rules themselves.  Throws std::invalid_argument where a number of them is out of range.
Choice checked(const Choice& choice);

// Chooses symbols of one vocabulary; owns the buffers for it.
class Chooser {
 public:
  Chooser(const Choice& checked_choice, Index V);

  // Unnormalised probabilities p (V) to draw from.
  // Throws std::domain_error where a logit is NaN or +inf, or no symbol is left.
  template <class Real>
  const std::vector<double>& shares(const Real* logits);

  // The symbol on which u in [0, 1) falls.
  template <class Real>
  Index choose(const Real* logits, double u);

 private:
  void keep_top_k();
  void keep_top_p();

  Choice choice_;
  std::vector<double> p_, sorted_;
  std::vector<Index> order_;
};

}  // namespace unrolled
