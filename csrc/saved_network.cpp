// SPDX-License-Identifier: Apache-2.0
#include "saved_network.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "json.h"
#include "sha256.h"
#include "whole_file.h"

namespace unrolled {
namespace {

constexpr Index kLargest = (Index{1} << 31) - 1;  // of every size: unrolled/config/checks.py
constexpr Index kMostLayers = 1024;

// Of a row in int8: unrolled/core/int8.py.
constexpr int kScaleBits = 17;
constexpr double kLargestNumber = 127, kSmallestProduct = 1e-30;

[[noreturn]] void refuse(const std::string& file, const std::string& what) {
  throw std::runtime_error(file + ": " + what);
}

// How often a folder is read that is saved anew all the while.
constexpr int kReads = 100;

// The bytes of the file with this checksum, which may lie beside its usual place (unrolled/saved/atomic_files.py).
std::string read_whole(const std::string& folder, const std::string& name, const std::string& sum) {
  const std::string beside = folder + "/." + name + "." + sum.substr(0, 16) + ".unfinished";
  const std::string place = folder + "/" + name;
  for (const std::string& path : {place, beside, place}) {  // to which it may have gone meanwhile
    std::optional<std::string> data = File(path).bytes();
    if (data && sha256(*data) == sum) return std::move(*data);
  }
  refuse(place, "missing, damaged or of another save: no file has the sha256 that config.json names");
}

// What is wrong with the scale of a row in int8, or nothing.
const char* fault_of(double scale) {
  if (scale < 0) return "has a scale that is negative";
  if (scale * kLargestNumber > std::numeric_limits<float>::max()) return "has a scale that is too large for float32";
  int exponent = 0;
  const double digits = std::ldexp(std::frexp(scale, &exponent), kScaleBits);
  if (digits != std::rint(digits) || (scale > 0 && scale * kLargestNumber < kSmallestProduct))
    return "has a scale with which q * scale is not exact, expected 17 significant bits";
  return nullptr;
}

// An object of config.json, and where it stands.
class Section {
 public:
  Section(std::string file, std::string name, const Json* object)
      : file_(std::move(file)), name_(std::move(name)), object_(object) {
    if (!object || !object->as<Json::Object>()) refuse("", "is missing or no object");
  }

  std::string text(const char* key, const char* otherwise = nullptr) const {
    return value<std::string>(key, otherwise ? std::optional<std::string>(otherwise) : std::nullopt, "text");
  }
  bool flag(const char* key, std::optional<bool> otherwise = {}) const {
    return value<bool>(key, otherwise, "true or false");
  }
  Index number(const char* key, Index least, std::optional<Index> otherwise = {}) const {
    const auto found = value<std::int64_t>(key, otherwise, "a whole number");
    if (found < least || found > kLargest) refuse(key, "is out of range");
    return found;
  }
  bool has(const char* key) const { return object_->find(key) && !object_->find(key)->is_null(); }
  const Json* of(const char* key) const { return object_->find(key); }

  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    unrolled::refuse(file_, name_ + (key.empty() ? "" : " " + key) + " " + what);
  }
  const std::string& file() const { return file_; }

 private:
  template <class Type>
  Type value(const char* key, std::optional<Type> otherwise, const char* expected) const {
    const Json* found = object_->find(key);
    if (!found && otherwise) return *otherwise;
    const Type* typed = found ? found->as<Type>() : nullptr;
    if (!typed) refuse(key, std::string(found ? "is of another type" : "is missing") + ", expected " + expected);
    return *typed;
  }

  std::string file_, name_;
  const Json* object_;
};

// The tensors of a safetensors file, each by its name, type, shape and place; nothing is trusted.
class TensorFile {
 public:
  TensorFile(std::string file, std::string data, StoredAs stored)
      : file_(std::move(file)), data_(std::move(data)), stored_(stored) {
    std::uint64_t length = 0;
    if (data_.size() < sizeof length) refuse(file_, "shorter than its header");
    std::memcpy(&length, data_.data(), sizeof length);
    if (length > data_.size() - sizeof length) refuse(file_, "its header is longer than the file");
    try {
      header_ = Json::parse(std::string_view(data_).substr(sizeof length, length));
    } catch (const std::runtime_error& error) {
      refuse(file_, error.what());
    }
    if (!header_.as<Json::Object>()) refuse(file_, "its header is no object");
    begin_ = sizeof length + length;
  }

  bool has(const std::string& name) const { return header_.find(name); }

  // A tensor of this shape: (rows, columns), or of one axis where columns is negative.
  SavedArray take(const std::string& name, Index rows, Index columns) {
    const bool matrix = columns >= 0;
    const char* expected = !matrix || stored_ == StoredAs::float32 ? "F32" : stored_ == StoredAs::int8 ? "I8" : "BF16";
    const Index shape[] = {rows, columns};
    return take(name, expected, shape, matrix ? 2 : 1);
  }

  // A tensor (layers, 1, width) of float32.
  SavedArray take_states(const std::string& name, Index layers, Index width) {
    const Index shape[] = {layers, 1, width};
    return take(name, "F32", shape, 3);
  }

  // The length of a tensor of one axis.
  Index length(const std::string& name) const {
    const Json* tensor = header_.find(name);
    const Json* shape = tensor ? tensor->find("shape") : nullptr;
    const Json::List* axes = shape ? shape->as<Json::List>() : nullptr;
    const std::int64_t* only = axes && axes->size() == 1 ? axes->front().as<std::int64_t>() : nullptr;
    if (!only || *only < 1 || *only > kLargest) refuse(file_, "'" + name + "' is missing, or not of one axis");
    return *only;
  }

  // Refuses tensors that nobody took.
  void expect_no_more() const {
    for (const auto& [name, tensor] : *header_.as<Json::Object>()) {
      if (name != "__metadata__" && !taken_.count(name)) refuse(file_, "'" + name + "' is not expected");
    }
  }

 private:
  SavedArray take(const std::string& name, std::string_view type, const Index* shape, int axes) {
    const std::size_t size = type == "F32" ? 4 : type == "BF16" ? 2 : 1;
    SavedArray found;
    found.rows = shape[0], found.columns = axes == 1 ? 1 : shape[axes - 1];
    const auto most = static_cast<Index>(data_.size());  // before the product of two sizes that a file may name
    if (found.rows > most || (found.columns > 0 && found.rows > most / found.columns))
      refuse(file_, "'" + name + "' is larger than the file");
    const auto n = static_cast<std::size_t>(found.rows * found.columns);
    const char* bytes = place(name, type, shape, axes, n * size);
    found.values.resize(n);
    if (type == "F32") {
      std::memcpy(found.values.data(), bytes, n * size);
    } else if (type == "BF16") {
      for (std::size_t k = 0; k < n; ++k) {
        BFloat16 number;
        std::memcpy(&number, bytes + 2 * k, 2);
        found.values[k] = static_cast<float>(number);
      }
    } else {
      widen(name, bytes, found);
    }
    for (const float value : found.values) {
      if (!std::isfinite(value)) refuse(file_, "'" + name + "' holds a number that is not finite");
    }
    return found;
  }

  void widen(const std::string& name, const char* bytes, SavedArray& to) {
    to.q.resize(to.values.size());
    std::memcpy(to.q.data(), bytes, to.q.size());
    const Index rows[] = {to.rows};
    to.scale = take(name + ".scale", "F32", rows, 1).values;
    for (Index row = 0; row < to.rows; ++row) {
      if (const char* fault = fault_of(to.scale[row])) refuse(file_, "'" + name + "' " + fault);
      for (Index k = row * to.columns; k < (row + 1) * to.columns; ++k) {
        if (to.q[k] == -128) refuse(file_, "'" + name + "' holds -128, expected -127 to 127");
        to.values[k] = static_cast<float>(to.q[k]) * to.scale[row];
      }
    }
  }

  // Where the values of a tensor lie, once they are known to lie in the file.
  const char* place(const std::string& name, std::string_view type, const Index* shape, int axes, std::size_t bytes) {
    const Json* tensor = header_.find(name);
    if (!tensor) refuse(file_, "'" + name + "' is missing");
    taken_[name] = true;
    const auto list = [&](const char* key) {
      const Json* found = tensor->find(key);
      const Json::List* items = found ? found->as<Json::List>() : nullptr;
      std::vector<std::int64_t> numbers;
      for (std::size_t k = 0; items && k < items->size(); ++k) {
        const std::int64_t* number = (*items)[k].as<std::int64_t>();
        numbers.push_back(number ? *number : -1);
      }
      return numbers;
    };
    const Json* dtype = tensor->find("dtype");
    const std::string* of_type = dtype ? dtype->as<std::string>() : nullptr;
    if (!of_type || *of_type != type || list("shape") != std::vector<std::int64_t>(shape, shape + axes)) {
      std::string expected;
      for (int k = 0; k < axes; ++k) expected += (k ? ", " : "") + std::to_string(shape[k]);
      refuse(file_, "'" + name + "' is not " + std::string(type) + " (" + expected + ")");
    }
    const std::vector<std::int64_t> offsets = list("data_offsets");
    const auto room = static_cast<std::int64_t>(data_.size() - begin_);
    if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] > room || offsets[0] > offsets[1] ||
        static_cast<std::size_t>(offsets[1] - offsets[0]) != bytes) {
      refuse(file_, "'" + name + "' does not lie where its header says");
    }
    return data_.data() + begin_ + offsets[0];
  }

  std::string file_, data_;
  StoredAs stored_;
  Json header_;
  std::size_t begin_ = 0;
  std::map<std::string, bool> taken_;
};

CellKind kind_named(const Section& section, const char* key, const std::string& kind) {
  const std::map<std::string, CellKind> kinds{{"RNN_TANH", CellKind::rnn_tanh},
                                              {"RNN_RELU", CellKind::rnn_relu},
                                              {"LSTM", CellKind::lstm},
                                              {"GRU", CellKind::gru},
                                              {"LSTM_PEEPHOLE", CellKind::lstm_peephole}};
  const auto found = kinds.find(kind);
  if (found == kinds.end()) section.refuse(key, "is '" + kind + "', which this release does not know");
  return found->second;
}

SavedLayer take_layer(TensorFile& tensors, std::size_t number, CellKind cell, Index I, Index H, Index P, bool projected,
                      bool bias) {
  const Index GH = gate_count(cell) * H;
  const auto name = [&](const char* stem) { return "rnn." + std::string(stem) + "_l" + std::to_string(number); };
  SavedLayer layer{cell, I, H, P, {}, {}, {}, {}, {}, {}, {}, {}};
  layer.W_ih = tensors.take(name("weight_ih"), GH, I);
  layer.W_hh = tensors.take(name("weight_hh"), GH, P);
  if (bias) layer.b_ih = tensors.take(name("bias_ih"), GH, -1), layer.b_hh = tensors.take(name("bias_hh"), GH, -1);
  if (projected) layer.W_hr = tensors.take(name("weight_hr"), P, H);
  if (cell == CellKind::lstm_peephole) layer.p = tensors.take(name("peephole"), 3 * H, -1);
  return layer;
}

// A text model: [model] of config.json.
SavedNetwork text_model(const Section& model, TensorFile& tensors) {
  SavedNetwork network;
  network.symbols = true;
  const std::string cell = model.text("cell", "lstm"), nonlinearity = model.text("nonlinearity", "tanh");
  const Index H = model.number("hidden_size", 1, 256), L = model.number("num_layers", 1, 1);
  const Index E = model.number("embedding_size", 0, 0), V = network.input = tensors.length("head.bias");
  if (L > kMostLayers) model.refuse("num_layers", "is out of range");
  const bool relu = nonlinearity == "relu", tied = model.flag("tied", false);
  if (cell != "lstm" && cell != "gru" && cell != "rnn")
    model.refuse("cell", "is '" + cell + "', expected lstm, gru or rnn");
  if ((!relu && nonlinearity != "tanh") || (relu && cell != "rnn"))
    model.refuse("nonlinearity", "does not fit the cell");
  if (tied && E != H) model.refuse("tied", "needs an embedding as wide as the hidden state");
  const CellKind kind = cell == "lstm"  ? CellKind::lstm
                        : cell == "gru" ? CellKind::gru
                        : relu          ? CellKind::rnn_relu
                                        : CellKind::rnn_tanh;
  tensors.take("start", V, -1);  // what generation begins with, which steps do not need
  if (E) network.embedding = tensors.take("embedding.weight", V, E);
  for (Index l = 0; l < L; ++l) {
    network.layers.push_back(take_layer(tensors, static_cast<std::size_t>(l), kind,
                                        l   ? H
                                        : E ? E
                                            : V,
                                        H, H, false, true));
  }
  if (model.flag("learned_initial_state", false)) {
    for (int state = 0; state < 1 + has_cell_state(kind); ++state) {
      const SavedArray all = tensors.take_states("initial." + std::to_string(state), L, H);
      for (Index l = 0; l < L; ++l) {
        const float* row = all.values.data() + l * H;
        (state ? network.layers[l].c_0 : network.layers[l].h_0).assign(row, row + H);
      }
    }
  }
  network.head = tied ? network.embedding : tensors.take("head.weight", V, H);
  network.head_bias = tensors.take("head.bias", V, -1);
  return network;
}

// Any other network: [network] of config.json.
SavedNetwork any_network(const Section& described, TensorFile& tensors) {
  SavedNetwork network;
  const std::string dtype = described.text("dtype");
  if (dtype != "float32") described.refuse("dtype", "is '" + dtype + "'; this interface computes float32 networks");
  network.symbols = described.flag("symbols");
  const Index V = network.input = described.number("input_size", 1);
  const Index E = described.number("embedding_size", 0, 0);
  if (E) network.embedding = tensors.take("embedding.weight", V, E);
  if (described.has("framed")) tensors.take("start", V, -1);
  const Json::List* layers = described.of("layers") ? described.of("layers")->as<Json::List>() : nullptr;
  if (!layers || layers->empty() || layers->size() > kMostLayers) described.refuse("layers", "is no list of layers");
  Index I = E ? E : V;
  for (std::size_t l = 0; l < layers->size(); ++l) {
    const Section layer(described.file(), "[network] layer " + std::to_string(l), &(*layers)[l]);
    const CellKind kind = kind_named(layer, "kind", layer.text("kind"));
    const Index H = layer.number("hidden_size", 1), projected = layer.number("proj_size", 0, 0);
    const Index P = projected ? projected : H;
    if (layer.number("directions", 1, 1) != 1)
      layer.refuse("directions", "is not 1: a layer that also runs backward has no next step");
    if (projected && !has_cell_state(kind)) layer.refuse("proj_size", "is for LSTMs alone");
    network.layers.push_back(take_layer(tensors, l, kind, I, H, P, projected, layer.flag("bias", true)));
    if (layer.flag("learned_initial_state", false)) {
      const auto name = [&](const char* state) { return std::string("initial.") + state + "_l" + std::to_string(l); };
      network.layers.back().h_0 = tensors.take(name("h"), P, -1).values;
      if (has_cell_state(kind)) network.layers.back().c_0 = tensors.take(name("c"), H, -1).values;
    }
    I = P;
  }
  if (described.has("head")) {
    const Section head(described.file(), "[network] head", described.of("head"));
    const Index size = head.number("size", 1);
    network.head = tensors.take("head.weight", size, I);
    if (head.flag("bias", true)) network.head_bias = tensors.take("head.bias", size, -1);
    network.softmax = head.flag("softmax", false);
  }
  return network;
}

StoredAs stored_as(const std::string& file, const Json& config) {
  const Json* weights = config.find("weights");
  if (!weights) return StoredAs::float32;
  const std::string* name = weights->as<std::string>();
  if (name && *name == "int8") return StoredAs::int8;
  if (name && *name == "bfloat16") return StoredAs::bfloat16;
  refuse(file, "weights is not bfloat16 or int8");
}

// The network of a folder whose config.json holds this.
SavedNetwork network_of(const std::string& folder, const std::string& file, const std::string& data) {
  Json config;
  try {
    config = Json::parse(data);
  } catch (const std::runtime_error& error) {
    refuse(file, error.what());
  }
  const Section whole(file, "the file", &config);
  if (whole.number("format_version", 0) != 1) refuse(file, "of a format version that this release does not read");
  const Section sums(file, "sha256", config.find("sha256"));
  if (sums.has("config.json")) {
    const std::string own = sums.text("config.json");
    std::string blank = data;
    const std::size_t at = blank.find(own);
    if (own.size() == 64 && at != std::string::npos) blank.replace(at, own.size(), std::string(64, '0'));
    if (sha256(blank) != own) refuse(file, "damaged, or of another save: its sha256 is not the one that it names");
  }
  const std::string sum = sums.text("model.safetensors");
  if (sum.size() != 64) refuse(file, "the sha256 of model.safetensors is not 64 digits");
  const StoredAs stored = stored_as(file, config);
  TensorFile tensors(folder + "/model.safetensors", read_whole(folder, "model.safetensors", sum), stored);
  SavedNetwork network = config.find("network")
                             ? any_network(Section(file, "[network]", config.find("network")), tensors)
                             : text_model(Section(file, "[model]", config.find("model")), tensors);
  network.stored = stored;
  tensors.expect_no_more();
  return network;
}

}  // namespace

SavedNetwork load_network(const std::string& folder) {
  const std::string file = folder + "/config.json";
  for (int reads = 1;; ++reads) {
    const std::optional<std::string> data = File(file).bytes();
    if (!data) refuse(folder, "no config.json that can be read, so there is no model; check the path");
    try {
      return network_of(folder, file, *data);
    } catch (const std::runtime_error&) {  // damaged; or another save began after config.json was read
      if (reads == kReads || File(file).bytes() == data) throw;
    }
  }
}

}  // namespace unrolled
