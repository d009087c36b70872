// Which norms can be read once, and that those that can are the same work each time.
#include "bench/cases/norm.hpp"
#include "kernels/cuda/norm_slabs.hpp"
#include "kernels/norm.hpp"
#include "kernels/runtime/graph.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using kernels::Chip;
using kernels::norm_slabs;
using kernels::NormGeometry;
using kernels::NormKind;
using kernels::NormSlabs;
using kernels::NormVariant;

const Chip kH100{132, 227 << 10};

/// Slabs of 16-bit elements in chunks of 8, as wide as a line.
std::optional<NormSlabs> slabs(const NormGeometry& g, int64_t tensors, const Chip& chip = kH100,
                               int64_t threads = 512) {
  return norm_slabs(g, 2, 8, 8, tensors, threads, chip);
}

TEST(NormSlabs, WhatAChipHolds) {
  // Of ResNet-18 on 512 pictures of 32 x 32: layers of 67, 34, 17 and 8.4 MB.
  const auto layer = [](int64_t positions, int64_t c) {
    return NormGeometry::of(NormKind::kBatch, 512, positions, c, 1);
  };
  EXPECT_FALSE(slabs(layer(1024, 64), 1));
  EXPECT_FALSE(slabs(layer(256, 128), 1));
  EXPECT_TRUE(slabs(layer(64, 256), 1));
  EXPECT_FALSE(slabs(layer(64, 256), 2));
  EXPECT_TRUE(slabs(layer(16, 512), 1));
  EXPECT_TRUE(slabs(layer(16, 512), 2));
  EXPECT_TRUE(slabs(layer(16, 512), 3));
  // A sample's statistics are one block's business where there are samples for all multiprocessors.
  const auto of_samples = slabs(NormGeometry::of(NormKind::kInstance, 512, 1024, 64, 1), 1);
  ASSERT_TRUE(of_samples);
  EXPECT_FALSE(of_samples->cooperative());
  EXPECT_TRUE(slabs(NormGeometry::of(NormKind::kLayer, 4, 64, 256, 1), 1)->cooperative());
  // Samples of 2 MB, each with one multiprocessor.
  EXPECT_FALSE(slabs(NormGeometry::of(NormKind::kGroup, 132, 16384, 64, 1), 1));
  EXPECT_FALSE(slabs(NormGeometry::of(NormKind::kInstance, 65536, 4, 64, 1), 1))
      << "a grid's limit";
}

TEST(NormSlabs, EndWhereSharedMemoryDoes) {
  for (const auto& g : {NormGeometry::of(NormKind::kBatch, 8, 100, 96, 2),
                        NormGeometry::of(NormKind::kGroup, 3, 49, 96, 1, 32)}) {
    const auto all = slabs(g, 2, {4, 1 << 30});
    ASSERT_TRUE(all);
    const int64_t needed = all->bytes + kernels::kSlabOverhead;
    EXPECT_TRUE(slabs(g, 2, {4, needed}));
    EXPECT_FALSE(slabs(g, 2, {4, needed - 1}));
  }
}

/// Every element has a place, threads fill warps, and blocks that meet are all there.
TEST(NormSlabs, HoldEveryElement) {
  const auto is_power_of_two = [](int64_t n) { return n > 0 && (n & (n - 1)) == 0; };
  for (const Chip& chip : {Chip{1, 1 << 30}, Chip{4, 1 << 30}, Chip{132, 1 << 30}})
    for (const cases::NormCase& z : cases::odd_norms())
      for (NormKind kind :
           {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
        for (int64_t width : {1, 4, 8})
          for (int64_t threads : {256, 512}) {
            const NormGeometry g = NormGeometry::of(kind, z.n, z.s, z.c, 2, z.group_channels);
            const int64_t group_width = g.channels / g.groups;
            if (g.channels % width != 0 || (group_width != 1 && group_width % width != 0)) continue;
            const auto s = norm_slabs(g, 4, width, width == 1 ? 32 : 8, 1, threads, chip);
            ASSERT_TRUE(s);
            SCOPED_TRACE(testing::Message()
                         << z.name << ", kind " << static_cast<int>(kind) << ", width " << width
                         << ", " << threads << " threads");
            EXPECT_TRUE(is_power_of_two(s->columns) && is_power_of_two(s->rows) &&
                        is_power_of_two(s->tile_groups));
            EXPECT_GE(s->tiles * s->tile_groups, g.groups);
            EXPECT_GE(s->columns * s->rows, std::max<int64_t>(32, s->tile_groups));
            EXPECT_LE(s->columns * s->rows, threads);
            if (s->cooperative()) {
              EXPECT_LE(s->tiles * s->parts * g.blocks, chip.multiprocessors);
            }
            const int64_t kept = s->parts * s->rows * s->columns * s->chunks * width;
            EXPECT_GE(kept, g.rows * std::min(g.channels, s->tile_groups * group_width));
            EXPECT_EQ(s->bytes, kept / s->parts * 4);
          }
}

/// Batch norm of [N, S, C] with ReLU, forward and backward.
struct Work {
  NormGeometry geometry;
  Buffer x, dy, scale, shift, mean, rstd, y, dx, dscale, dshift;

  Work(int64_t n, int64_t s, int64_t c, DType dtype)
      : geometry(NormGeometry::of(NormKind::kBatch, n, s, c, 1)),
        x(dtype, uniform(n * s * c, 1)),
        dy(dtype, uniform(n * s * c, 2)),
        scale(DType::kF32, uniform(c, 3)),
        shift(DType::kF32, uniform(c, 4)),
        mean(DType::kF32, c),
        rstd(DType::kF32, c),
        y(dtype, n * s * c),
        dx(dtype, n * s * c),
        dscale(DType::kF32, c),
        dshift(DType::kF32, c) {}

  kernels::NormLane lane() {
    return {mean.write_as<float>(), rstd.write_as<float>(), scale.read_as<float>(),
            shift.read_as<float>()};
  }
  kernels::NormForward forward(std::optional<NormVariant> variant) {
    return {.statistics = {.geometry = geometry,
                           .x = x.read(),
                           .mean = mean.write_as<float>(),
                           .rstd = rstd.write_as<float>()},
            .apply = {.geometry = geometry,
                      .activation = kernels::NormActivation::kRelu,
                      .x = x.read(),
                      .lane = {{lane(), {}}},
                      .y = y.write()},
            .variant = variant};
  }
  kernels::NormBackward backward(std::optional<NormVariant> variant) {
    return {.geometry = geometry,
            .activation = kernels::NormActivation::kRelu,
            .x = x.read(),
            .dy = dy.read(),
            .lane = {{lane(), {}}},
            .dscale = {dscale.write_as<float>(), {}},
            .dshift = {dshift.write_as<float>(), {}},
            .dx = dx.write(),
            .variant = variant};
  }
};

TEST(NormOneRead, IsRefusedWhereItDoesNotFit) {
#if PASSNORM_TEST_CUDA && !PASSNORM_EMULATED
  Work large(64, 56 * 56, 256, DType::kF32);  // 205 MB
#else
  Work large(2, 2300, 64, DType::kF32);  // 1.2 MB: the emulated GPU has less than 1 MB; CPUs never
#endif
  EXPECT_FALSE(fits_one_read(stream(), large.forward({})));
  EXPECT_FALSE(fits_one_read(stream(), large.backward({})));
  EXPECT_THROW(kernels::norm_forward(stream(), large.forward(NormVariant::kOneRead)), Error);
  EXPECT_THROW(kernels::norm_backward(stream(), large.backward(NormVariant::kOneRead)), Error);
  EXPECT_NO_THROW(kernels::norm_forward(stream(), large.forward({})));
  EXPECT_NO_THROW(kernels::norm_backward(stream(), large.backward({})));
  stream().synchronize();
}

TEST(NormForward, RefusesPartsThatDoNotBelongTogether) {
  Work work(2, 4, 8, DType::kF32);
  Buffer other(DType::kF32, 8), other_x(DType::kF32, uniform(64, 5)), var(DType::kF32, 8),
      averages(DType::kF32, 16);
  kernels::NormForward fits = work.forward({});
  fits.statistics.var = var.write_as<float>();
  fits.running[0] = {.channels = 8,
                     .count = 8,
                     .mean = fits.statistics.mean,
                     .var = fits.statistics.var,
                     .running_mean = averages.write_as<float>().first(8),
                     .running_var = averages.write_as<float>().last(8)};
  EXPECT_NO_THROW(check(fits));
  const auto refuses = [&](auto&& change) {
    kernels::NormForward a = fits;
    change(a);
    EXPECT_THROW(check(a), Error);
  };
  refuses([&](auto& a) { a.apply.x = other_x.read(); });
  refuses([&](auto& a) { a.apply.geometry = NormGeometry::of(NormKind::kLayer, 2, 4, 8, 1); });
  refuses([&](auto& a) { a.apply.lane[0].mean = other.read_as<float>(); });
  refuses([&](auto& a) { a.apply.lane[0].rstd = a.apply.lane[0].mean; });
  refuses([&](auto& a) { a.running[0].mean = other.read_as<float>(); });
  refuses([&](auto& a) { a.running[0].var = a.running[0].mean; });
  refuses([&](auto& a) { a.statistics.var = {}; });
}

#if PASSNORM_TEST_CUDA
TEST(NormOneRead, LeavesLittleToTheTwoPasses) {
  int fit = 0, all = 0;
  for (const cases::NormCase& z : cases::odd_norms()) {
    Work work(z.n, z.s, z.c, DType::kBF16);
    all += 2;
    fit += fits_one_read(stream(), work.forward({})) + fits_one_read(stream(), work.backward({}));
  }
  EXPECT_EQ(fit, all);
  // Nothing waits for sums with fixed statistics or without dx.
  Work work(2, 4, 8, DType::kF32);
  kernels::NormBackward a = work.backward({});
  a.fixed_statistics = true;
  EXPECT_FALSE(fits_one_read(stream(), a));
  a = work.backward({});
  a.dx = {};
  EXPECT_FALSE(fits_one_read(stream(), a));
}

/// A recorded step has the cooperative launches, and gives the same bits at every replay.
TEST(NormOneRead, CanBeRecorded) {
  Work work(4, 65, 64, DType::kBF16);
  const kernels::NormForward forward = work.forward(NormVariant::kOneRead);
  const kernels::NormBackward backward = work.backward(NormVariant::kOneRead);
  CapturedWork step;
  std::vector<std::vector<std::byte>> first;
  for (int i = 0; i < 5; ++i) {
    step.run(stream(), [&] {
      kernels::norm_forward(stream(), forward);
      kernels::norm_backward(stream(), backward);
    });
    stream().synchronize();
    std::vector<std::vector<std::byte>> bits;
    for (const Buffer* b : {&work.mean, &work.rstd, &work.y, &work.dx, &work.dscale, &work.dshift})
      bits.push_back(b->bits());
    if (first.empty()) first = bits;
    EXPECT_EQ(bits, first) << "run " << i;
  }
  EXPECT_TRUE(step.captured());
}
#endif

}  // namespace
}  // namespace passnorm::test
