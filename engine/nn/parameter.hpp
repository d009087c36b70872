// Parameters and buffers: names and views into flat arenas.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/autograd/tape.hpp"

namespace passnorm {

/// How a tensor's elements stand in files (the order of the references and of torchvision) against
/// memory.
enum class FileLayout {
  kSame,         ///< as in memory
  kConvolution,  ///< file [O, I, KH, KW], memory [O, KH, KW, I]
  kPoints,       ///< file [O, I, L], memory [O, 1, L, I]: a convolution along one axis
  kFlattened,    ///< file [O, C H W], memory [O, H W C]: a linear layer behind a flattened image of
                 ///< `positions` H W
};

struct Init {
  enum class Kind { kConstant, kNormal, kUniform } kind = Kind::kConstant;
  float value = 0;  ///< the constant, the standard deviation, or the bound
  static Init constant(float v) { return {Kind::kConstant, v}; }
  static Init normal(float stddev) { return {Kind::kNormal, stddev}; }
  static Init uniform(float bound) { return {Kind::kUniform, bound}; }
};

/// What is known of a parameter or buffer before memory is taken.
struct TensorSpec {
  std::string name;  ///< the references' module path
  Shape shape;       ///< in memory
  Init init;
  FileLayout layout = FileLayout::kSame;
  int64_t positions = 1;           ///< of kFlattened
  bool secret = false;             ///< belongs to the owner: never in a released file
  bool optional = false;           ///< may be missing in a file, and is as initialised then
  std::string released_name = {};  ///< in a released file, where it differs from name
};

/// A trained tensor: a view into the weight arena, its gradient a view into the gradient arena.
struct Parameter {
  TensorSpec spec;
  Var var;
};

/// State that is not trained: running statistics.
struct Buffer {
  TensorSpec spec;
  Tensor value;
};

/// All parameters and buffers of a model. First every module adds its own, then allocate() takes
/// the arenas.
class ParameterSet {
 public:
  /// Addresses stay valid. Names are unique.
  Parameter& add(TensorSpec spec);
  Buffer& add_buffer(TensorSpec spec);

  /// Takes the arenas and initialises: element i of the k-th tensor from random number i of (seed,
  /// kInit, k). Without a seed everything stays zero.
  void allocate(Stream& stream, std::optional<uint64_t> seed);

  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  std::deque<Buffer>& buffers() { return buffers_; }
  const std::deque<Buffer>& buffers() const { return buffers_; }
  Parameter* find(const std::string& name);
  Buffer* find_buffer(const std::string& name);

  /// Elements of all parameters.
  int64_t count() const;
  const Tensor& weights() const { return weights_; }      ///< [padded count]; padding is zero
  const Tensor& gradients() const { return gradients_; }  ///< the same places
  const Tensor& buffer_arena() const { return buffer_arena_; }

  /// Keeps a copy of all weights in a 16-bit type (Var::copy) until drop_copy: the optimiser writes
  /// both. Who changes weights otherwise calls refresh_copy.
  void keep_copy(Stream& stream, DType dtype);
  void refresh_copy(Stream& stream);
  void drop_copy();
  const Tensor& copy() const { return copy_; }  ///< the weights' places; empty: none is kept

  /// Which parameters are trained from now on. The others are frozen: they have no gradient,
  /// nothing is differentiated for them, the arena has zeros in their places, and an optimiser made
  /// later leaves them as they are.
  void train_only(Stream& stream, const std::function<bool(const TensorSpec&)>& trained);

  /// Before a step: the next gradient of every parameter overwrites.
  void begin_gradients();
  /// After backward: parameters that got none have gradient zero.
  void finish_gradients(Stream& stream);

 private:
  std::deque<Parameter> parameters_;
  std::deque<Buffer> buffers_;
  Tensor weights_, gradients_, buffer_arena_, copy_;
};

/// The elements of a parameter or buffer in file order and back (host).
std::vector<float> to_file_order(const TensorSpec& spec, std::span<const float> memory);
std::vector<float> from_file_order(const TensorSpec& spec, std::span<const float> file);
/// The shape that stands in files.
std::vector<int64_t> file_shape(const TensorSpec& spec);

}  // namespace passnorm
