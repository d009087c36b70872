#include "kernels/norm_pool.hpp"

#include "kernels/pooling_common.hpp"

namespace passnorm::kernels {

void check(const NormPoolForward& a) {
  const int64_t size = a.norm.x_size(), lanes = a.fork ? 2 : 1;
  check(NormApply{.geometry = a.norm,
                  .lanes = a.lanes,
                  .fork = a.fork,
                  .x = a.x,
                  .lane = a.lane,
                  .y = {nullptr, a.x.dtype, size * lanes}});
  PoolGeometry of_lanes = a.pool;
  of_lanes.n *= lanes;
  check(of_lanes, size * lanes, a.y.size, a.argmax.size());
  PASSNORM_CHECK(a.pool.c == a.norm.channels && a.norm.rows % (a.pool.h * a.pool.w) == 0,
                 a.norm.rows, " rows of ", a.norm.channels,
                 " channels share statistics; samples of ", a.pool.h, " x ", a.pool.w, " x ",
                 a.pool.c);
  PASSNORM_CHECK(a.activation != NormActivation::kReluThenAdd, "there is no residual");
}

}  // namespace passnorm::kernels
