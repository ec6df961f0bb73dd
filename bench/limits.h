// SPDX-License-Identifier: Apache-2.0
// What the machine itself can do, for the shares in the tables.
#pragma once

namespace unrolled {

// Prints one JSON object: multiply-add rate, rate of the core's own tile, bandwidth of reading from each level of
// memory, each on one thread and on `threads`.
void print_limits(int threads);

}  // namespace unrolled
