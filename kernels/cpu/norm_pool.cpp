#include "kernels/norm_pool.hpp"

#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {

// One after the other: what would be saved is a small part of a step on a CPU.
void norm_pool_forward(CpuStream& stream, const NormPoolForward& a) {
  check(a);
  const int64_t lanes = a.fork ? 2 : 1, size = a.x.size * lanes;
  const Scratch<std::byte> whole(stream, size * static_cast<int64_t>(size_of(a.x.dtype)));
  const View between(whole.data(), a.x.dtype, size);
  norm_apply(stream, {.geometry = a.norm,
                      .lanes = a.lanes,
                      .fork = a.fork,
                      .activation = a.activation,
                      .x = a.x,
                      .lane = a.lane,
                      .y = between});
  PoolGeometry pool = a.pool;
  pool.n *= lanes;
  max_pool_forward(stream, {.geometry = pool, .x = between, .y = a.y, .argmax = a.argmax});
}

}  // namespace passnorm::kernels
