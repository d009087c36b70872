#include "kernels/gemm.hpp"

namespace passnorm::kernels {

void check_gemm(const Gemm& a) {
  PASSNORM_CHECK(a.m > 0 && a.n > 0 && a.k > 0, "sizes ", a.m, " x ", a.n, " x ", a.k);
  PASSNORM_CHECK(a.a.size == a.m * a.k, "a has ", a.a.size, " elements, not ", a.m * a.k);
  PASSNORM_CHECK(a.b.size == a.k * a.n, "b has ", a.b.size, " elements, not ", a.k * a.n);
  PASSNORM_CHECK(a.y.size == a.m * a.n, "y has ", a.y.size, " elements, not ", a.m * a.n);
}

}  // namespace passnorm::kernels
