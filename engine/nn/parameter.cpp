#include "engine/nn/parameter.hpp"

#include <algorithm>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm {
namespace {

constexpr int64_t kAlign = 16;  // floats: every view starts on a 64-byte line

int64_t padded(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

template <class List>
int64_t arena_size(const List& list) {
  int64_t n = 0;
  for (const auto& item : list) n += padded(item.spec.shape.size());
  return n;
}

std::vector<float> initial(const TensorSpec& spec, uint64_t seed, uint32_t stream) {
  const Random random(seed, Purpose::kInit, stream);
  std::vector<float> v(static_cast<size_t>(spec.shape.size()), spec.init.value);
  if (spec.init.kind == Init::Kind::kNormal)
    for (size_t i = 0; i < v.size(); ++i) v[i] = spec.init.value * random.normal(i);
  if (spec.init.kind == Init::Kind::kUniform)
    for (size_t i = 0; i < v.size(); ++i) v[i] = spec.init.value * (2 * random.uniform(i) - 1);
  return v;
}

/// [b, c, s] of a tensor between file [b, c, s] and memory [b, s, c].
struct Order {
  int64_t b, c, s;
};
Order order_of(const TensorSpec& spec) {
  const Shape& m = spec.shape;
  switch (spec.layout) {
    case FileLayout::kConvolution:
    case FileLayout::kPoints:
      return {m[0], m[3], m[1] * m[2]};
    case FileLayout::kFlattened:
      return {m[0], m[1] / spec.positions, spec.positions};
    case FileLayout::kSame:
      break;
  }
  return {1, 1, m.size()};
}

/// [batch, rows, columns] -> [batch, columns, rows]
std::vector<float> transposed(std::span<const float> x, int64_t batch, int64_t rows,
                              int64_t columns) {
  std::vector<float> y(x.size());
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r)
        y[static_cast<size_t>((b * columns + c) * rows + r)] =
            x[static_cast<size_t>((b * rows + r) * columns + c)];
  return y;
}

}  // namespace

Parameter& ParameterSet::add(TensorSpec spec) {
  PASSNORM_CHECK(!find(spec.name), "two parameters named ", spec.name);
  parameters_.push_back({std::move(spec), {}});
  return parameters_.back();
}

Buffer& ParameterSet::add_buffer(TensorSpec spec) {
  PASSNORM_CHECK(!find_buffer(spec.name), "two buffers named ", spec.name);
  buffers_.push_back({std::move(spec), {}});
  return buffers_.back();
}

void ParameterSet::allocate(Stream& stream, std::optional<uint64_t> seed) {
  weights_ = Tensor::zeros(stream, {arena_size(parameters_)});
  gradients_ = Tensor::zeros(stream, {arena_size(parameters_)});
  buffer_arena_ = Tensor::zeros(stream, {arena_size(buffers_)});
  int64_t at = 0;
  uint32_t index = 0;
  for (Parameter& p : parameters_) {
    p.var.value = weights_.slice(at, p.spec.shape);
    p.var.gradient =
        std::make_shared<Gradient>(Gradient{gradients_.slice(at, p.spec.shape), false});
    if (seed) p.var.value.copy_from<float>(stream, initial(p.spec, *seed, index++));
    at += padded(p.spec.shape.size());
  }
  at = 0;
  for (Buffer& b : buffers_) {
    b.value = buffer_arena_.slice(at, b.spec.shape);
    if (seed) b.value.copy_from<float>(stream, initial(b.spec, *seed, index++));
    at += padded(b.spec.shape.size());
  }
}

Parameter* ParameterSet::find(const std::string& name) {
  const auto it =
      std::ranges::find(parameters_, name, [](const Parameter& p) { return p.spec.name; });
  return it == parameters_.end() ? nullptr : &*it;
}

Buffer* ParameterSet::find_buffer(const std::string& name) {
  const auto it = std::ranges::find(buffers_, name, [](const Buffer& b) { return b.spec.name; });
  return it == buffers_.end() ? nullptr : &*it;
}

int64_t ParameterSet::count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.spec.shape.size();
  return n;
}

void ParameterSet::keep_copy(Stream& stream, DType dtype) {
  copy_ = Tensor::empty(stream, weights_.shape(), dtype);
  int64_t at = 0;
  for (Parameter& p : parameters_) {
    p.var.copy = copy_.slice(at, p.spec.shape);
    at += padded(p.spec.shape.size());
  }
  refresh_copy(stream);
}

void ParameterSet::refresh_copy(Stream& stream) {
  if (copy_)
    dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = weights_.view(), .y = copy_.view()}); });
}

void ParameterSet::drop_copy() {
  for (Parameter& p : parameters_) p.var.copy = {};
  copy_ = {};
}

void ParameterSet::train_only(Stream& stream,
                              const std::function<bool(const TensorSpec&)>& trained) {
  dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = gradients_.view()}); });
  int64_t at = 0;
  for (Parameter& p : parameters_) {
    p.var.gradient =
        trained(p.spec)
            ? std::make_shared<Gradient>(Gradient{gradients_.slice(at, p.spec.shape), false})
            : nullptr;
    at += padded(p.spec.shape.size());
  }
}

void ParameterSet::begin_gradients() {
  for (Parameter& p : parameters_)
    if (p.var.gradient) p.var.gradient->written = false;
}

void ParameterSet::finish_gradients(Stream& stream) {
  for (Parameter& p : parameters_)
    if (p.var.gradient && !p.var.gradient->written)
      dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = p.var.sink(stream).value.view()}); });
}

std::vector<float> to_file_order(const TensorSpec& spec, std::span<const float> memory) {
  const Order o = order_of(spec);
  return transposed(memory, o.b, o.s, o.c);
}

std::vector<float> from_file_order(const TensorSpec& spec, std::span<const float> file) {
  const Order o = order_of(spec);
  return transposed(file, o.b, o.c, o.s);
}

std::vector<int64_t> file_shape(const TensorSpec& spec) {
  const Shape& m = spec.shape;
  if (spec.layout == FileLayout::kConvolution) return {m[0], m[3], m[1], m[2]};
  if (spec.layout == FileLayout::kPoints) return {m[0], m[3], m[2]};
  std::vector<int64_t> out;
  for (int i = 0; i < m.rank(); ++i) out.push_back(m[i]);
  return out;
}

}  // namespace passnorm
