// SPDX-License-Identifier: Apache-2.0
// A file that is read as a whole, or not at all.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <optional>
#include <string>

namespace unrolled {

class File {
 public:
  explicit File(const std::string& path) : number_(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {}
  ~File() {
    if (number_ >= 0) ::close(number_);
  }
  File(const File&) = delete;

  // Its bytes, or nothing if it is missing or no file; a pipe would wait, and a device might never end.
  std::optional<std::string> bytes() const {
    struct stat found{};
    if (number_ < 0 || ::fstat(number_, &found) != 0 || !S_ISREG(found.st_mode)) return {};
    std::string data(static_cast<std::size_t>(found.st_size), '\0');
    std::size_t at = 0;
    while (at < data.size()) {
      const ssize_t n = ::read(number_, data.data() + at, data.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    data.resize(at);
    return data;
  }

 private:
  int number_;
};

}  // namespace unrolled
