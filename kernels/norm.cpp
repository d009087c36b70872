#include "kernels/norm.hpp"

#include <functional>
#include <memory>

namespace passnorm::kernels {
namespace {

/// blocks: behind the lane's tables.
void check_lane(const NormGeometry& g, int64_t blocks, const NormLane& lane) {
  const auto statistics = static_cast<size_t>(blocks * g.groups),
             channels = static_cast<size_t>(g.channels);
  PASSNORM_CHECK(lane.mean.size() == statistics && lane.rstd.size() == statistics, "mean [",
                 lane.mean.size(), "] and rstd [", lane.rstd.size(), "] of ", statistics,
                 " statistics");
  PASSNORM_CHECK((lane.scale.empty() || lane.scale.size() == channels) &&
                     (lane.shift.empty() || lane.shift.size() == channels),
                 "scale [", lane.scale.size(), "] and shift [", lane.shift.size(), "] of ",
                 channels, " channels");
}

/// Args: NormApply or NormBackward.
template <class Args>
void check_lanes(const Args& a) {
  const NormGeometry& g = a.geometry;
  PASSNORM_CHECK(a.lanes == 1 || a.lanes == 2, a.lanes, " lanes");
  PASSNORM_CHECK(!a.fork || a.lanes == 2, "a fork has two lanes");
  PASSNORM_CHECK(a.fork || a.lanes == 1 || g.blocks % 2 == 0, g.blocks,
                 " blocks do not divide into two lanes");
  for (int l = 0; l < a.lanes; ++l) check_lane(g, g.blocks, a.lane[static_cast<size_t>(l)]);
}

}  // namespace

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

void check(const NormStatistics& a) {
  const NormGeometry& g = a.geometry;
  const auto count = static_cast<size_t>(g.statistics());
  PASSNORM_CHECK(g.x_size() > 0 && a.x.size == g.x_size(), "x has ", a.x.size,
                 " elements, the geometry ", g.x_size());
  PASSNORM_CHECK(
      a.mean.size() == count && a.rstd.size() == count && (a.var.empty() || a.var.size() == count),
      "mean [", a.mean.size(), "], rstd [", a.rstd.size(), "] and var [", a.var.size(), "] of ",
      count, " statistics");
}

void check(const NormUpdateRunning& a) {
  const auto channels = static_cast<size_t>(a.channels);
  PASSNORM_CHECK(a.mean.size() == channels && a.var.size() == channels &&
                     a.running_mean.size() == channels && a.running_var.size() == channels,
                 "running statistics of ", channels, " channels");
}

void check(const NormRstd& a) {
  PASSNORM_CHECK(a.var.size() == a.rstd.size(), "rstd [", a.rstd.size(), "] of var [", a.var.size(),
                 "]");
}

void check(const NormApply& a) {
  check_lanes(a);
  const NormGeometry& g = a.geometry;
  PASSNORM_CHECK(a.x.size == g.x_size() && a.y.size == a.x.size * (a.fork ? 2 : 1), "x has ",
                 a.x.size, " elements, y ", a.y.size, ", the geometry ", g.x_size());
  PASSNORM_CHECK(!a.residual || a.residual.size == a.y.size ||
                     (a.residual.size * 2 == a.y.size && (a.fork || g.blocks * g.rows % 2 == 0)),
                 "residual has ", a.residual.size, " elements, y ", a.y.size);
  if (!a.normalises_residual()) {
    PASSNORM_CHECK(a.residual_lane[1].mean.empty(), "the residual's norm has a second lane only");
    return;
  }
  const int64_t block = g.rows * g.channels, residual_blocks = a.residual.size / block;
  PASSNORM_CHECK(a.residual && a.residual.size % block == 0, "residual of ", a.residual.size,
                 " elements, blocks of ", block);
  check_lane(g, residual_blocks, a.residual_lane[0]);
  if (a.residual_lane[1].mean.empty()) return;
  PASSNORM_CHECK(a.y.size / block % 2 == 0, a.y.size / block,
                 " blocks of y do not divide into two lanes of the residual");
  check_lane(g, residual_blocks, a.residual_lane[1]);
}

void check(const NormForward& a) {
  const NormStatistics& s = a.statistics;
  check(s);
  check(a.apply);
  PASSNORM_CHECK(
      a.apply.geometry == s.geometry && a.apply.x.data == s.x.data && a.apply.x.dtype == s.x.dtype,
      "statistics of one tensor, apply of another");
  for (size_t l = 0; l < static_cast<size_t>(a.apply.lanes); ++l)
    PASSNORM_CHECK(a.apply.lane[l].mean.data() == s.mean.data() &&
                       a.apply.lane[l].rstd.data() == s.rstd.data(),
                   "lane ", l, " applies other statistics");
  for (const NormUpdateRunning& running : a.running) {
    if (running.channels == 0) continue;
    check(running);
    const auto before = std::less<const float*>();
    PASSNORM_CHECK(
        !s.var.empty() && !before(running.mean.data(), s.mean.data()) &&
            !before(std::to_address(s.mean.end()), std::to_address(running.mean.end())) &&
            running.var.data() - s.var.data() == running.mean.data() - s.mean.data(),
        "running averages of other statistics");
  }
}

NormVariant norm_variant(std::optional<NormVariant> wanted, bool fits) {
  PASSNORM_CHECK(wanted != NormVariant::kOneRead || fits, "a norm that cannot be read once");
  // No GPU has timed them yet: `passnorm bench kernels` has norm/X_one_read beside norm/X. Until
  // its table says where one read is faster, nothing that fits is read once unasked.
  return wanted.value_or(NormVariant::kTwoPass);
}

void norm_forward(CpuStream& stream, const NormForward& a) {
  check(a);
  norm_variant(a.variant, fits_one_read(stream, a));
  norm_forward_in_two_passes(stream, a);
}

void check(const NormBackward& a) {
  check_lanes(a);
  const NormGeometry& g = a.geometry;
  PASSNORM_CHECK(a.x.size == g.x_size() && a.dy.size == a.x.size * (a.fork ? 2 : 1) &&
                     (!a.dx || a.dx.size == a.x.size),
                 "x has ", a.x.size, " elements, dx ", a.dx.size, ", dy ", a.dy.size,
                 ", the geometry ", g.x_size());
  PASSNORM_CHECK(a.activation != NormActivation::kRelu || !a.has_residual || a.y.size == a.dy.size,
                 "relu(u + residual) needs y; it has ", a.y.size, " elements, dy ", a.dy.size);
  PASSNORM_CHECK(!a.dresidual || a.dresidual.size == a.dy.size ||
                     (a.dresidual.size * 2 == a.dy.size && (a.fork || g.blocks * g.rows % 2 == 0)),
                 "dresidual has ", a.dresidual.size, " elements, dy ", a.dy.size);
  const auto channels = static_cast<size_t>(g.channels);
  for (size_t l = 0; l < static_cast<size_t>(a.lanes); ++l)
    PASSNORM_CHECK((a.dscale[l].empty() || a.dscale[l].size() == channels) &&
                       (a.dshift[l].empty() || a.dshift[l].size() == channels),
                   "dscale [", a.dscale[l].size(), "] and dshift [", a.dshift[l].size(), "] of ",
                   channels, " channels");
}

}  // namespace passnorm::kernels
