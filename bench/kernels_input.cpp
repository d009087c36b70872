// What happens at the edges of a network: batches made of stored bytes, changes of layout.
#include "bench/catalogue.hpp"
#include "kernels/augment.hpp"
#include "kernels/transform.hpp"

namespace passnorm::bench {

void add_inputs(Catalogue& all) {
  const int64_t n = all.samples(), side = 32, pixels = side * side * 3, images = 1000;
  for (const DType dtype : all.storage())
    all.add("augment/crop_flip", "32x32x3", dtype, 0, (1 + width(dtype)) * f64(n * pixels),
            [=](Stream& s) -> Call {
              std::vector<int64_t> order(static_cast<size_t>(n));
              for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i * 37 % images;
              return
                  [=, &s, stored = result(s, images * pixels, DType::kU8),
                   index = Tensor::from<int64_t>(s, {n}, order), y = result(s, n * pixels, dtype)] {
                    dispatch(s, [&](auto& d) {
                      kernels::augment(d, {.n = n,
                                           .h = side,
                                           .w = side,
                                           .c = 3,
                                           .images = stored.span<uint8_t>(),
                                           .index = index.span<int64_t>(),
                                           .pad = 4,
                                           .flip = true,
                                           .y = y.view()});
                    });
                  };
            });
  const int64_t c = 128, positions = 256;
  all.add("transform/to_channels_last", "16x16x128", DType::kF32, 0, 8 * f64(n * c * positions),
          [=](Stream& s) -> Call {
            return [=, &s, x = operand(s, n * c * positions), y = result(s, n * c * positions)] {
              dispatch(s, [&](auto& d) {
                kernels::to_channels_last(
                    d, {.b = n, .c = c, .s = positions, .x = x.span(), .y = y.span()});
              });
            };
          });
}

}  // namespace passnorm::bench
