#include "kernels/norm.hpp"

namespace passnorm::kernels {

NormGeometry NormGeometry::of(NormKind kind, int64_t n, int64_t s, int64_t c, int64_t lanes,
                              int64_t group_channels) {
  PASSNORM_CHECK(n > 0 && s > 0 && c > 0 && lanes > 0 && n % lanes == 0, n, " samples of ", s,
                 " positions and ", c, " channels on ", lanes, " lanes");
  switch (kind) {
    case NormKind::kBatch:
      return {lanes, n / lanes * s, c, c};
    case NormKind::kGroup:
      if (group_channels <= 0 || c < group_channels || c % (c / group_channels) != 0)
        fail(Fault::kUsage, "group normalisation: ", c, " channels do not divide into groups of ",
             group_channels, " or a little more");
      return {n, s, c, c / group_channels};
    case NormKind::kInstance:
      return {n, s, c, c};
    case NormKind::kLayer:
      return {n, s, c, 1};
  }
  fail(Fault::kBug, "norm kind ", static_cast<int>(kind));
}

}  // namespace passnorm::kernels
