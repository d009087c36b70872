#include "kernels/elementwise.hpp"

#include "bench/catalogue.hpp"

namespace passnorm::bench {

void add_elementwise(Catalogue& all) {
  const int64_t n = all.samples() * 16 * 16 * 128;
  const char* shape = "16x16x128";
  for (const DType dtype : all.storage()) {
    const double tensor = width(dtype) * f64(n);
    all.add("elementwise/fill", shape, dtype, 0, tensor, [=](Stream& s) -> Call {
      return [&s, y = result(s, n, dtype)] {
        dispatch(s, [&](auto& d) { kernels::fill(d, {.y = y.view(), .value = 1}); });
      };
    });
    if (dtype != DType::kF32)
      all.add("elementwise/cast", shape, dtype, 0, tensor + 4 * f64(n), [=](Stream& s) -> Call {
        return [&s, x = operand(s, n), y = result(s, n, dtype)] {
          dispatch(s, [&](auto& d) { kernels::cast(d, {.x = x.view(), .y = y.view()}); });
        };
      });
    all.add("elementwise/add_to", shape, dtype, 0, 3 * tensor, [=](Stream& s) -> Call {
      return [&s, x = operand(s, n, dtype), y = result(s, n, dtype)] {
        dispatch(s, [&](auto& d) {
          kernels::add_to(d, {.x = x.view(), .y = y.view(), .alpha = 1e-3f});
        });
      };
    });
    all.add("elementwise/add_relu", shape, dtype, 0, 3 * tensor, [=](Stream& s) -> Call {
      return [&s, a = operand(s, n, dtype), b = operand(s, n, dtype), y = result(s, n, dtype)] {
        dispatch(s, [&](auto& d) {
          kernels::add(d, {.a = a.view(), .b = b.view(), .y = y.view(), .relu = true});
        });
      };
    });
    all.add("elementwise/relu_backward", shape, dtype, 0, 3 * tensor, [=](Stream& s) -> Call {
      return [&s, y = operand(s, n, dtype), dy = operand(s, n, dtype), dx = result(s, n, dtype)] {
        dispatch(s, [&](auto& d) {
          kernels::relu_backward(d, {.y = y.view(), .dy = dy.view(), .dx = dx.view()});
        });
      };
    });
  }
}

}  // namespace passnorm::bench
