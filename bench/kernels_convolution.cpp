#include <algorithm>

#include "bench/cases/convolution.hpp"
#include "bench/cases/gemm.hpp"
#include "bench/catalogue.hpp"
#include "engine/io/text.hpp"
#include "kernels/convolution.hpp"
#include "kernels/gemm.hpp"
#include "kernels/norm.hpp"

namespace passnorm::bench {
namespace {

/// f32 weights, and the copy in the type of the activations that a trainer keeps beside them.
struct Weights {
  Tensor w, copy;
  Weights(Stream& s, int64_t n, DType dtype)
      : w(operand(s, n)), copy(dtype == DType::kF32 ? Tensor() : operand(s, n, dtype)) {}
  ConstView view() const { return w.view(); }
  ConstView copy_view() const { return copy ? ConstView(copy.view()) : ConstView(); }
};

/// A convolution and the statistics of its result, which the norm reads for them, or which follow
/// from sums that the convolution takes.
struct MeasuredConvolution {
  Stream& stream;
  kernels::ConvGeometry geometry;
  Tensor x, y, mean, rstd, sums;
  Weights w;

  MeasuredConvolution(Stream& s, const kernels::ConvGeometry& g, DType dtype, bool in_epilogue)
      : stream(s),
        geometry(g),
        x(operand(s, g.x_size(), dtype)),
        y(result(s, g.y_size(), dtype)),
        mean(result(s, g.o)),
        rstd(result(s, g.o)),
        sums(in_epilogue ? result(s, 2 * g.o) : Tensor()),
        w(s, g.w_size(), dtype) {}
  void operator()() const {
    const std::span<float> to = sums ? sums.span() : std::span<float>();
    dispatch(stream, [&](auto& s) {
      if (!kernels::conv_forward(s, {.geometry = geometry,
                                     .x = x.view(),
                                     .w = w.view(),
                                     .w_copy = w.copy_view(),
                                     .y = y.view(),
                                     .sums = to}) &&
          sums)
        fail(Fault::kMachine, "no convolution here sums its result");
      kernels::norm_statistics(
          s, {.geometry = {1, geometry.y_size() / geometry.o, geometry.o, geometry.o},
              .x = y.view(),
              .mean = mean.span(),
              .rstd = rstd.span(),
              .sums = to});
    });
  }
};

/// Of GPUs, in 16 bits: where StreamOptions::epilogue_statistics is a choice.
void add_measured_convolution(Catalogue& all, const cases::ConvCase& c,
                              const kernels::ConvGeometry& g, DType dtype) {
  if (dtype == DType::kF32 || std::ranges::count(all.storage(), DType::kF16) == 0) return;
  for (const bool in_epilogue : {false, true})
    all.add(in_epilogue ? "conv/statistics_in_epilogue" : "conv/statistics", c.name, dtype,
            c.flops(), c.bytes(width(dtype)), [g, dtype, in_epilogue](Stream& s) -> Call {
              const auto work = std::make_shared<MeasuredConvolution>(s, g, dtype, in_epilogue);
              (*work)();
              return [work] { (*work)(); };
            });
}

void add_convolution(Catalogue& all, const cases::ConvCase& c, DType dtype) {
  const kernels::ConvGeometry g{.n = c.n,
                                .h = c.h,
                                .w = c.w,
                                .c = c.c,
                                .o = c.o,
                                .kh = c.kh,
                                .kw = c.kw,
                                .stride = c.stride,
                                .pad = c.pad};
  const double bytes = c.bytes(width(dtype));
  all.add("conv/forward", c.name, dtype, c.flops(), bytes, [g, dtype](Stream& s) -> Call {
    return [&s, g, x = operand(s, g.x_size(), dtype), w = Weights(s, g.w_size(), dtype),
            y = result(s, g.y_size(), dtype)] {
      dispatch(s, [&](auto& d) {
        kernels::conv_forward(
            d,
            {.geometry = g, .x = x.view(), .w = w.view(), .w_copy = w.copy_view(), .y = y.view()});
      });
    };
  });
  add_measured_convolution(all, c, g, dtype);
  all.add("conv/backward_data", c.name, dtype, c.flops(), bytes, [g, dtype](Stream& s) -> Call {
    return [&s, g, dy = operand(s, g.y_size(), dtype), w = Weights(s, g.w_size(), dtype),
            dx = result(s, g.x_size(), dtype)] {
      dispatch(s, [&](auto& d) {
        kernels::conv_backward_data(d, {.geometry = g,
                                        .dy = dy.view(),
                                        .w = w.view(),
                                        .w_copy = w.copy_view(),
                                        .dx = dx.view()});
      });
    };
  });
  all.add("conv/backward_weight", c.name, dtype, c.flops(), bytes, [g, dtype](Stream& s) -> Call {
    return [&s, g, x = operand(s, g.x_size(), dtype), dy = operand(s, g.y_size(), dtype),
            dw = result(s, g.w_size())] {
      dispatch(s, [&](auto& d) {
        kernels::conv_backward_weight(
            d, {.geometry = g, .x = x.view(), .dy = dy.view(), .dw = dw.view()});
      });
    };
  });
}

}  // namespace

void add_convolutions(Catalogue& all) {
  for (const DType dtype : all.storage())
    for (const cases::ConvCase& c : cases::layer_convolutions(all.samples()))
      add_convolution(all, c, dtype);
  for (const cases::GemmCase& c : cases::gemms())
    all.add("gemm/multiply", concat(c.m, "x", c.n, "x", c.k), DType::kF32, c.flops(), c.bytes(4),
            [c](Stream& s) -> Call {
              return [&s, c, a = operand(s, c.m * c.k), b = operand(s, c.k * c.n),
                      y = result(s, c.m * c.n)] {
                dispatch(s, [&](auto& d) {
                  kernels::gemm(
                      d,
                      {.m = c.m, .n = c.n, .k = c.k, .a = a.view(), .b = b.view(), .y = y.view()});
                });
              };
            });
}

}  // namespace passnorm::bench
