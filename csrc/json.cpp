// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <locale.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace unrolled {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Json read() {
    Json found = value(0);
    skip_space();
    if (at_ != text_.size()) refuse("more text after the value");
    return found;
  }

 private:
  static constexpr int kDeepest = 64;

  [[noreturn]] void refuse(const std::string& what) const {
    throw std::runtime_error("not JSON: " + what + " at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    skip_space();
    const bool there = at_ < text_.size() && text_[at_] == c;
    at_ += there;
    return there;
  }
  bool take_word(std::string_view word) {
    const bool there = text_.substr(at_, word.size()) == word;
    at_ += there ? word.size() : 0;
    return there;
  }

  Json value(int depth) {
    if (depth > kDeepest) refuse("more than " + std::to_string(kDeepest) + " values inside each other");
    Json found;
    skip_space();
    if (next() == '{') {
      found.value_ = object(depth);
    } else if (next() == '[') {
      found.value_ = list(depth);
    } else if (next() == '"') {
      found.value_ = string();
    } else if (take_word("true")) {
      found.value_ = true;
    } else if (take_word("false")) {
      found.value_ = false;
    } else if (!take_word("null")) {
      number(found);
    }
    return found;
  }

  Json::Object object(int depth) {
    Json::Object found;
    take('{');
    if (take('}')) return found;
    do {
      skip_space();
      if (next() != '"') refuse("no key");
      std::string key = string();
      if (!take(':')) refuse("no colon after a key");
      if (!found.emplace(std::move(key), value(depth + 1)).second) refuse("a key that stands there twice");
    } while (take(','));
    if (!take('}')) refuse("no end of an object");
    return found;
  }

  Json::List list(int depth) {
    Json::List found;
    take('[');
    if (take(']')) return found;
    do {
      found.push_back(value(depth + 1));
    } while (take(','));
    if (!take(']')) refuse("no end of a list");
    return found;
  }

  void number(Json& to) {
    const std::size_t begin = at_;
    if (next() == '-') ++at_;
    const std::size_t first = at_;
    digits();
    if (at_ - first > 1 && text_[first] == '0') refuse("a number that begins with 0");
    bool whole = true;
    if (next() == '.') whole = false, ++at_, digits();
    if (next() == 'e' || next() == 'E') {
      whole = false, ++at_;
      if (next() == '+' || next() == '-') ++at_;
      digits();
    }
    const char *from = text_.data() + begin, *end = text_.data() + at_;
    std::int64_t integer = 0;
    if (whole && std::from_chars(from, end, integer).ec == std::errc()) {
      to.value_ = integer;
      return;
    }
    const double number = real(std::string(from, end));
    if (!std::isfinite(number)) refuse("a number out of range");
    to.value_ = number;
  }
  // In any locale of the program; not every standard library's from_chars reads numbers with a point.
  static double real(const std::string& number) {
    static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
    return strtod_l(number.c_str(), nullptr, plain);
  }
  void digits() {
    const std::size_t begin = at_;
    while (next() >= '0' && next() <= '9') ++at_;
    if (at_ == begin) refuse("no value");
  }

  std::string string() {
    std::string found;
    for (++at_; next() != '"'; ++at_) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) refuse("no end of a string");
      if (text_[at_] == '\\') {
        ++at_, escape(found);
      } else {
        found += text_[at_];
      }
    }
    ++at_;
    return found;
  }

  // Leaves the place at the last byte of the escape.
  void escape(std::string& to) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kBytes = "\"\\/\b\f\n\r\t";
    const std::size_t k = kNames.find(next());
    if (next() == '\0' || (k == std::string_view::npos && next() != 'u')) refuse("an unknown escape");
    if (k != std::string_view::npos) {
      to += kBytes[k];
      return;
    }
    std::uint32_t code = hexadecimal();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_ + 1, 2) == "\\u") {
      at_ += 2;
      const std::uint32_t low = hexadecimal();
      if (low < 0xDC00 || low >= 0xE000) refuse("half a character");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xD800 && code < 0xE000) refuse("half a character");
    append_utf8(to, code);
  }
  std::uint32_t hexadecimal() {
    const std::string_view four = text_.substr(std::min(at_ + 1, text_.size()), 4);
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(four.data(), four.data() + four.size(), code, 16);
    if (error != std::errc() || end != four.data() + 4) refuse("an unknown escape");
    at_ += 4;
    return code;
  }
  static void append_utf8(std::string& to, std::uint32_t code) {
    const auto more = [&](int shift) { to += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
    if (code < 0x80) {
      to += static_cast<char>(code);
    } else if (code < 0x800) {
      to += static_cast<char>(0xC0 | code >> 6), more(0);
    } else if (code < 0x10000) {
      to += static_cast<char>(0xE0 | code >> 12), more(6), more(0);
    } else {
      to += static_cast<char>(0xF0 | code >> 18), more(12), more(6), more(0);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).read(); }

const Json* Json::find(std::string_view key) const {
  const Object* object = as<Object>();
  if (!object) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &found->second;
}

}  // namespace unrolled
