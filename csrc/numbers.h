// SPDX-License-Identifier: Apache-2.0
// The one refusal of a real number that comes from outside; a comparison with NaN is false, and so NaN is never `good`.
#pragma once
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace unrolled {

inline void expect_number(const char* name, double value, bool good, const char* expected) {
  if (good && std::isfinite(value)) return;
  char shown[32];
  std::snprintf(shown, sizeof shown, "%g", value);
  throw std::invalid_argument(std::string(name) + " is " + shown + ", expected a finite number " + expected);
}

}  // namespace unrolled
