// What a network of point clouds adds: clouds of 1024 points, transforms of 64 features.
#include "bench/catalogue.hpp"
#include "kernels/augment_points.hpp"
#include "kernels/batched_matmul.hpp"
#include "kernels/dropout.hpp"
#include "kernels/orthogonality.hpp"
#include "kernels/pooling.hpp"

namespace passnorm::bench {
namespace {

constexpr int64_t kPoints = 1024;

void add_products(Catalogue& all, DType dtype) {
  constexpr int64_t kColumns = 64;
  const int64_t n = all.samples(), x_size = n * kPoints * kColumns,
                t_size = n * kColumns * kColumns;
  const kernels::BatchedMatmulGeometry g{n, kPoints, kColumns, kColumns};
  const std::string shape = concat(kPoints, "x", kColumns, "x", kColumns);
  const double flops = 2 * f64(x_size * kColumns), tensor = width(dtype) * f64(x_size),
               transforms = 4 * f64(t_size);
  all.add("gemm/batched_forward", shape, dtype, flops, 2 * tensor + transforms,
          [=](Stream& s) -> Call {
            return [&s, g, x = operand(s, x_size, dtype), t = operand(s, t_size),
                    y = result(s, x_size, dtype)] {
              dispatch(s, [&](auto& d) {
                kernels::batched_matmul(
                    d, {.geometry = g, .x = x.view(), .t = t.span(), .y = y.view()});
              });
            };
          });
  all.add("gemm/batched_backward", shape, dtype, 2 * flops, 3 * tensor + 2 * transforms,
          [=](Stream& s) -> Call {
            return [&s, g, x = operand(s, x_size, dtype), t = operand(s, t_size),
                    dy = operand(s, x_size, dtype), dx = result(s, x_size, dtype),
                    dt = result(s, t_size)] {
              dispatch(s, [&](auto& d) {
                kernels::batched_matmul_backward(d, {.geometry = g,
                                                     .x = x.view(),
                                                     .t = t.span(),
                                                     .dy = dy.view(),
                                                     .dx = dx.view(),
                                                     .dt = dt.span()});
              });
            };
          });
}

void add_global_max(Catalogue& all, DType dtype) {
  const int64_t n = all.samples(), c = 1024, size = n * kPoints * c;
  const double bytes = width(dtype) * f64(size + n * c) + 4 * f64(n * c);
  all.add("pool/global_max_forward", "1024x1024", dtype, 0, bytes, [=](Stream& s) -> Call {
    return [=, &s, x = operand(s, size, dtype), y = result(s, n * c, dtype),
            argmax = result(s, n * c, DType::kI32)] {
      dispatch(s, [&](auto& d) {
        kernels::global_max_forward(d, {.n = n,
                                        .s = kPoints,
                                        .c = c,
                                        .x = x.view(),
                                        .y = y.view(),
                                        .argmax = argmax.span<int32_t>()});
      });
    };
  });
}

void add_dropout(Catalogue& all, DType dtype) {
  const int64_t n = all.samples() * 256;
  all.add(
      "elementwise/dropout", "2x256", dtype, 0, 4 * width(dtype) * f64(n), [=](Stream& s) -> Call {
        return [&s, x = operand(s, 2 * n, dtype), y = result(s, 2 * n, dtype)] {
          dispatch(s, [&](auto& d) {
            kernels::dropout(d, {.parts = 2, .x = x.view(), .y = y.view(), .probability = 0.4f});
          });
        };
      });
}

void add_clouds(Catalogue& all, DType dtype) {
  const int64_t n = all.samples(), clouds = 100, size = 3 * kPoints;
  all.add("augment/points", "1024x3", dtype, 0, (4 + width(dtype)) * f64(n * size),
          [=](Stream& s) -> Call {
            std::vector<int64_t> order(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i * 37 % clouds;
            return [=, &s, stored = operand(s, clouds * size),
                    index = Tensor::from<int64_t>(s, {n}, order), y = result(s, n * size, dtype)] {
              dispatch(s, [&](auto& d) {
                kernels::augment_points(d, {.n = n,
                                            .points = kPoints,
                                            .clouds = stored.span(),
                                            .index = index.span<int64_t>(),
                                            .max_dropout = 0.875f,
                                            .scale_low = 0.8f,
                                            .scale_high = 1.25f,
                                            .shift = 0.1f,
                                            .y = y.view()});
              });
            };
          });
}

}  // namespace

void add_points(Catalogue& all) {
  for (const DType dtype : all.storage()) {
    add_products(all, dtype), add_global_max(all, dtype), add_dropout(all, dtype);
    add_clouds(all, dtype);
  }
  const int64_t n = all.samples(), size = 64, elements = n * size * size;
  all.add("loss/orthogonality", "64x64", DType::kF32, 0, 8 * f64(elements), [=](Stream& s) -> Call {
    return [=, &s, t = operand(s, elements), dt = result(s, elements), loss = result(s, 1)] {
      dispatch(s, [&](auto& d) {
        kernels::orthogonality_loss(
            d, {.rows = n, .size = size, .t = t.span(), .loss = loss.span(), .dt = dt.span()});
      });
    };
  });
}

}  // namespace passnorm::bench
