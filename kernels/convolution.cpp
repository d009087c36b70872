#include "kernels/convolution.hpp"

namespace passnorm::kernels {

void check_convolution(const ConvGeometry& g, const ConstView& x, const ConstView& w,
                       const ConstView& bias, const ConstView& y) {
  PASSNORM_CHECK(g.n > 0 && g.c > 0 && g.o > 0 && g.stride > 0 && g.pad >= 0 && g.kh > 0 &&
                     g.kw > 0 && g.h + 2 * g.pad >= g.kh && g.w + 2 * g.pad >= g.kw,
                 "the window does not fit the image");
  PASSNORM_CHECK(x.size == g.x_size(), "x has ", x.size, " elements, not ", g.x_size());
  PASSNORM_CHECK(w.size == g.w_size(), "w has ", w.size, " elements, not ", g.w_size());
  PASSNORM_CHECK(y.size == g.y_size(), "y has ", y.size, " elements, not ", g.y_size());
  PASSNORM_CHECK(!bias || bias.size == g.o, "the bias has ", bias.size, " elements, not ", g.o);
}

void check_convolution(const ConvForward& a) {
  check_convolution(a.geometry, a.x, a.w, a.bias, a.y);
  if (a.sums.empty()) return;
  PASSNORM_CHECK(a.sums.size() == static_cast<size_t>(2 * a.geometry.o), a.sums.size(), " sums of ",
                 a.geometry.o, " channels");
  PASSNORM_CHECK(!a.bias && !a.relu, "sums of a convolution with ", a.bias ? "bias" : "relu");
}

}  // namespace passnorm::kernels
