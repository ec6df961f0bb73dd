// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace unrolled {

// The SHA-256 of some bytes in hexadecimal.  Source: FIPS 180-4.
std::string sha256(std::string_view data);

}  // namespace unrolled
