#include "kernels/cuda/conv_problem.hpp"

namespace passnorm::kernels {

std::string ConvProblem::name() const {
  static constexpr const char* kNames[] = {"forward", "backward-data", "backward-weight"};
  const ConvGeometry& g = geometry;
  return concat(kNames[static_cast<int>(operation)], " convolution x [", g.n, ",", g.h, ",", g.w,
                ",", g.c, "], w [", g.o, ",", g.kh, ",", g.kw, ",", g.c, "], stride ", g.stride,
                ", pad ", g.pad, ", ", name_of(type), result == type ? "" : " to ",
                result == type ? "" : name_of(result), bias ? ", bias" : "", relu ? ", relu" : "",
                sums ? ", sums" : "");
}

}  // namespace passnorm::kernels
