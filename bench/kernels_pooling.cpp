#include "bench/catalogue.hpp"
#include "kernels/pooling.hpp"

namespace passnorm::bench {
namespace {

void add_max_pool(Catalogue& all, DType dtype) {
  const kernels::PoolGeometry g{.n = all.samples(), .h = 32, .w = 32, .c = 64};
  const int64_t in = g.n * g.h * g.w * g.c, out = g.n * g.oh() * g.ow() * g.c;
  const double bytes = width(dtype) * f64(in + out) + f64(out);
  all.add("pool/max_forward", "32x32x64", dtype, 0, bytes, [=](Stream& s) -> Call {
    return [&s, g, x = operand(s, in, dtype), y = result(s, out, dtype),
            argmax = result(s, out, DType::kU8)] {
      dispatch(s, [&](auto& d) {
        kernels::max_pool_forward(
            d, {.geometry = g, .x = x.view(), .y = y.view(), .argmax = argmax.span<uint8_t>()});
      });
    };
  });
  all.add("pool/max_backward", "32x32x64", dtype, 0, bytes, [=](Stream& s) -> Call {
    return [&s, g, dy = operand(s, out, dtype), dx = result(s, in, dtype),
            argmax = result(s, out, DType::kU8)] {
      dispatch(s, [&](auto& d) {
        kernels::max_pool_backward(
            d, {.geometry = g, .dy = dy.view(), .argmax = argmax.span<uint8_t>(), .dx = dx.view()});
      });
    };
  });
}

void add_mean_pool(Catalogue& all, DType dtype) {
  const int64_t n = all.samples(), positions = 16, c = 512;
  const double bytes = width(dtype) * f64(n * (positions + 1) * c);
  all.add("pool/mean_forward", "4x4x512", dtype, 0, bytes, [=](Stream& s) -> Call {
    return [=, &s, x = operand(s, n * positions * c, dtype), y = result(s, n * c, dtype)] {
      dispatch(s, [&](auto& d) {
        kernels::global_mean_forward(
            d, {.n = n, .s = positions, .c = c, .x = x.view(), .y = y.view()});
      });
    };
  });
  all.add("pool/mean_backward", "4x4x512", dtype, 0, bytes, [=](Stream& s) -> Call {
    return [=, &s, dy = operand(s, n * c, dtype), dx = result(s, n * positions * c, dtype)] {
      dispatch(s, [&](auto& d) {
        kernels::global_mean_backward(
            d, {.n = n, .s = positions, .c = c, .dy = dy.view(), .dx = dx.view()});
      });
    };
  });
}

}  // namespace

void add_pools(Catalogue& all) {
  for (const DType dtype : all.storage()) add_max_pool(all, dtype), add_mean_pool(all, dtype);
}

}  // namespace passnorm::bench
