// SPDX-License-Identifier: Apache-2.0
#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "numbers.h"

namespace unrolled {

Choice checked(const Choice& choice) {
  expect_number("temperature", choice.temperature, choice.temperature > 0, "above 0");
  expect_number("top_p", choice.top_p, choice.top_p > 0 && choice.top_p <= 1, "above 0, up to 1");
  expect_number("min_p", choice.min_p, choice.min_p >= 0 && choice.min_p <= 1, "from 0 to 1");
  return choice;
}

Chooser::Chooser(const Choice& choice, Index V) : choice_(choice), p_(static_cast<std::size_t>(V)) {}

template <class Real>
const std::vector<double>& Chooser::shares(const Real* logits) {
  const Index V = static_cast<Index>(p_.size());
  double top = -std::numeric_limits<double>::infinity();
  for (Index v = 0; v < V; ++v) {
    if (std::isnan(logits[v]) || logits[v] == std::numeric_limits<Real>::infinity()) {
      throw std::domain_error("logit " + std::to_string(v) + " is " + std::to_string(logits[v]) +
                              ", expected a number; the model's weights are damaged or its training diverged");
    }
    if (v != choice_.forbidden) top = std::max(top, static_cast<double>(logits[v]));
  }
  if (std::isinf(top)) throw std::domain_error("no symbol is left to choose: every logit is -inf");
  for (Index v = 0; v < V; ++v) {
    p_[v] = v == choice_.forbidden ? 0 : std::exp((static_cast<double>(logits[v]) - top) / choice_.temperature);
  }
  if (0 < choice_.top_k && choice_.top_k < V) keep_top_k();
  if (choice_.top_p < 1) keep_top_p();
  if (choice_.min_p > 0) {
    const double least = choice_.min_p * *std::max_element(p_.begin(), p_.end());
    for (double& p : p_) p = p < least ? 0 : p;
  }
  return p_;
}

void Chooser::keep_top_k() {
  sorted_ = p_;
  const auto kth = sorted_.begin() + (choice_.top_k - 1);
  std::nth_element(sorted_.begin(), kth, sorted_.end(), std::greater<>());
  for (double& p : p_) p = p < *kth ? 0 : p;
}

void Chooser::keep_top_p() {
  order_.resize(p_.size());
  std::iota(order_.begin(), order_.end(), Index{0});
  std::stable_sort(order_.begin(), order_.end(), [this](Index a, Index b) { return p_[a] > p_[b]; });
  const double enough = choice_.top_p * std::accumulate(p_.begin(), p_.end(), 0.0);
  double before = 0;  // mass of the symbols ahead
  for (const Index v : order_) {
    const double p = p_[v];
    if (before >= enough) p_[v] = 0;
    before += p;
  }
}

template <class Real>
Index Chooser::choose(const Real* logits, double u) {
  expect_number("u", u, u >= 0 && u < 1, "from 0 up to but not 1");
  shares(logits);
  if (choice_.likeliest) return std::max_element(p_.begin(), p_.end()) - p_.begin();
  const double aim = u * std::accumulate(p_.begin(), p_.end(), 0.0);
  double sum = 0;
  Index chosen = 0;
  for (Index v = 0; v < static_cast<Index>(p_.size()); ++v) {
    if (p_[v] == 0) continue;
    chosen = v;  // the last with a share, in case rounding leaves the aim beyond every sum
    sum += p_[v];
    if (sum > aim) break;
  }
  return chosen;
}

template const std::vector<double>& Chooser::shares(const float*);
template const std::vector<double>& Chooser::shares(const double*);
template Index Chooser::choose(const float*, double);
template Index Chooser::choose(const double*, double);

}  // namespace unrolled
