#include "bench/catalogue.hpp"

#include "engine/io/text.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::bench {
namespace {

/// Numbers that are used again and again; a count that no tile of a kernel divides.
const std::vector<float>& noise() {
  static const std::vector<float> values = [] {
    std::vector<float> v(1'000'003);
    uint32_t x = 1;
    for (float& value : v) {
      x = 1664525u * x + 1013904223u;
      value = static_cast<float>(x) * 0x1p-31f - 1;
    }
    return v;
  }();
  return values;
}

}  // namespace

Tensor operand(Stream& stream, int64_t n, DType dtype) {
  const std::span<const float> values = noise();
  const auto tile = std::min<int64_t>(n, static_cast<int64_t>(values.size()));
  const Tensor t = Tensor::empty(stream, {n}, dtype),
               source = Tensor::from(stream, {tile}, values.first(static_cast<size_t>(tile)));
  for (int64_t at = 0; at < n; at += tile) {
    const int64_t count = std::min(tile, n - at);
    const Tensor part = t.slice(at, {count});
    if (dtype == DType::kF32)
      part.copy_from(stream, values.first(static_cast<size_t>(count)));
    else
      dispatch(stream, [&](auto& s) {
        kernels::cast(s, {.x = source.slice(0, {count}).view(), .y = part.view()});
      });
  }
  return t;
}

Tensor result(Stream& stream, int64_t n, DType dtype) { return Tensor::zeros(stream, {n}, dtype); }

Catalogue::Catalogue(Device device, int64_t samples)
    : device_(device), samples_(samples), storage_{DType::kF32, DType::kBF16} {
  if (on_gpu()) storage_.push_back(DType::kF16);
  for (const auto add_family : {add_convolutions, add_norms, add_pools, add_elementwise,
                                add_optimizers, add_passports, add_inputs, add_points})
    add_family(*this);
}

Kernel& Catalogue::add(std::string_view name, std::string_view shape, DType dtype, double flops,
                       double bytes, std::function<Call(Stream&)> prepare) {
  return kernels_.emplace_back(Kernel{.name = concat(name, '/', shape, '/', name_of(dtype)),
                                      .dtype = dtype,
                                      .flops = flops,
                                      .bytes = bytes,
                                      .moved = bytes,
                                      .prepare = std::move(prepare)});
}

}  // namespace passnorm::bench
