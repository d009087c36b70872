#include "kernels/norm_sums.hpp"

namespace passnorm::kernels {

void check_sums(const NormStatistics& a) {
  check(a);
  const NormGeometry& g = a.geometry;
  PASSNORM_CHECK(g.blocks == 1 && g.groups == g.channels &&
                     a.sums.size() == 2 * static_cast<size_t>(g.channels),
                 a.sums.size(), " sums for ", g.blocks, " blocks of ", g.channels, " channels in ",
                 g.groups, " groups");
}

}  // namespace passnorm::kernels
