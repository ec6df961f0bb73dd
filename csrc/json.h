// SPDX-License-Identifier: Apache-2.0
// JSON from outside: strict, of bounded depth, no key twice.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace unrolled {

class Json {
 public:
  using List = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  // Throws std::runtime_error, saying what is wrong and where, unless the text is one JSON value.
  static Json parse(std::string_view text);

  // The value of a key of an object, or null.
  const Json* find(std::string_view key) const;

  // The value as a Type, or null; a number that is written as a whole one is an integer.
  template <class Type>
  const Type* as() const {
    return std::get_if<Type>(&value_);
  }
  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

 private:
  friend class JsonReader;
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Object> value_;
};

}  // namespace unrolled
