#include "kernels/norm_pool.hpp"

#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormGeometry;
using kernels::NormKind;
using kernels::PoolGeometry;

struct Param {
  NormKind kind;
  PoolGeometry pool;
  DType dtype;
};
constexpr std::array<const char*, 4> kKindNames{"batch", "group", "instance", "layer"};
void PrintTo(const Param& p, std::ostream* out) {
  *out << kKindNames[static_cast<size_t>(p.kind)] << "_n" << p.pool.n << "_" << p.pool.h << "x"
       << p.pool.w << "_c" << p.pool.c << "_window" << p.pool.size << "_stride" << p.pool.stride
       << "_pad" << p.pool.pad << "_" << name_of(p.dtype);
}
std::vector<Param> params() {
  std::vector<Param> all;
  for (NormKind kind : {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
    for (const PoolGeometry& pool :
         {PoolGeometry{4, 8, 8, 64, 2, 2, 0}, PoolGeometry{2, 9, 7, 32, 3, 2, 1},
          PoolGeometry{2, 5, 6, 31, 2, 2, 0}, PoolGeometry{2, 6, 5, 16, 4, 3, 2},
          PoolGeometry{2, 1, 1, 1, 1, 1, 0}})
      for (DType dtype : kStorage) all.push_back({kind, pool, dtype});
  return all;
}

class NormPool : public testing::TestWithParam<Param> {};
INSTANTIATE_TEST_SUITE_P(Sizes, NormPool, testing::ValuesIn(params()),
                         testing::PrintToStringParamName());

/// To the bit what the two kernels give one after the other, which have oracles of their own: ties
/// after rounding and at the zeros of relu, NaN, and what the fork and the halves read. In f32 too,
/// where the same element may be computed by different instructions.
TEST_P(NormPool, IsNormThenPool) {
  const auto& [kind, pool, dtype] = GetParam();
  const int64_t s = pool.h * pool.w, size = pool.n * s * pool.c;
  for (const auto& [lanes, fork] : {std::pair{1, false}, {2, true}, {2, false}}) {
    const bool split = lanes == 2 && !fork;
    const NormGeometry geometry =
        NormGeometry::of(kind, pool.n, s, pool.c, split ? 2 : 1, std::min<int64_t>(pool.c, 16));
    PoolGeometry of_lanes = pool;
    of_lanes.n *= fork ? 2 : 1;
    const int64_t between_size = size * (fork ? 2 : 1);
    const int64_t y_size = of_lanes.n * pool.oh() * pool.ow() * pool.c;
    // Whole numbers: many ties.
    std::vector<double> values = whole(size, 1, 6);
    for (size_t i = 0; i < values.size(); i += 37) values[i] = std::nan("");
    const Buffer x(dtype, values);
    std::array<Buffer, 2> mean, rstd, scale, shift;
    std::array<kernels::NormLane, 2> lane;
    for (uint32_t l = 0; l < 2; ++l) {
      mean[l] = Buffer(DType::kF32, uniform(geometry.statistics(), 10 + l, 0, 6));
      rstd[l] = Buffer(DType::kF32, uniform(geometry.statistics(), 20 + l, 0.5, 2));
      scale[l] = Buffer(DType::kF32, uniform(pool.c, 30 + l, -2, 2));
      shift[l] = Buffer(DType::kF32, uniform(pool.c, 40 + l));
    }
    for (size_t l = 0; l < static_cast<size_t>(lanes); ++l)
      lane[l] = {mean[l].read_as<float>(), rstd[l].read_as<float>(), scale[l].read_as<float>(),
                 shift[l].read_as<float>()};
    for (NormActivation activation : {NormActivation::kRelu, NormActivation::kIdentity}) {
      SCOPED_TRACE(testing::Message() << lanes << " lanes, fork " << fork << ", relu "
                                      << (activation == NormActivation::kRelu));
      const auto fused = on_every_stream([&, lanes = lanes, fork = fork](TestStream& st) {
        Buffer y(GetParam().dtype, y_size), argmax(DType::kU8, y_size);
        kernels::norm_pool_forward(st, {.norm = geometry,
                                        .pool = GetParam().pool,
                                        .lanes = lanes,
                                        .fork = fork,
                                        .activation = activation,
                                        .x = x.read(),
                                        .lane = lane,
                                        .y = y.write(),
                                        .argmax = argmax.write_as<uint8_t>()});
        return list(std::move(y), std::move(argmax));
      });
      Buffer between(dtype, between_size), y(dtype, y_size), argmax(DType::kU8, y_size);
      kernels::norm_apply(stream(), {.geometry = geometry,
                                     .lanes = lanes,
                                     .fork = fork,
                                     .activation = activation,
                                     .x = x.read(),
                                     .lane = lane,
                                     .y = between.write()});
      kernels::max_pool_forward(stream(), {.geometry = of_lanes,
                                           .x = between.read(),
                                           .y = y.write(),
                                           .argmax = argmax.write_as<uint8_t>()});
      EXPECT_TRUE(same_bits(fused[1], argmax));
      EXPECT_TRUE(equal(fused[0], y.values()));
    }
  }
}

/// Worked by hand, so that the two kernels cannot be wrong together: x - 2 twice over, relu, 2 x 2.
TEST(NormPoolWorkedValues, TwoLanes) {
  const PoolGeometry pool{1, 2, 4, 1, 2, 2, 0};
  const Buffer x(DType::kF32, {1, 5, 0, 1, 4, 2, 2, -3}), mean(DType::kF32, std::vector{2.0}),
      rstd(DType::kF32, std::vector{1.0}), scale0(DType::kF32, std::vector{2.0}),
      scale1(DType::kF32, std::vector{-1.0}), shift(DType::kF32, std::vector{1.0});
  Buffer y(DType::kF32, 4), argmax(DType::kU8, 4);
  kernels::norm_pool_forward(
      stream(),
      {.norm = NormGeometry::of(NormKind::kBatch, 1, 8, 1, 1),
       .pool = pool,
       .lanes = 2,
       .fork = true,
       .x = x.read(),
       .lane = {kernels::NormLane{
                    mean.read_as<float>(), rstd.read_as<float>(), scale0.read_as<float>(), {}},
                kernels::NormLane{mean.read_as<float>(), rstd.read_as<float>(),
                                  scale1.read_as<float>(), shift.read_as<float>()}},
       .y = y.write(),
       .argmax = argmax.write_as<uint8_t>()});
  // lane 0: 2 x - 4 = [-2 6 -4 -2; 4 0 0 -10]; lane 1: 3 - x = [2 -2 3 2; -1 1 1 6]
  EXPECT_EQ(y.values(), (std::vector<double>{6, 0, 2, 6}));
  EXPECT_EQ(argmax.values(), (std::vector<double>{1, 0, 0, 3}));
}

TEST(NormPoolErrors, Geometry) {
  const Buffer x(DType::kF32, uniform(2 * 16 * 4, 1)), c(DType::kF32, uniform(4, 2)),
      blocks(DType::kF32, uniform(16, 3));
  Buffer y(DType::kF32, 2 * 4 * 4), argmax(DType::kU8, 2 * 4 * 4);
  const kernels::NormPoolForward good{
      .norm = NormGeometry::of(NormKind::kBatch, 2, 16, 4, 1),
      .pool = {2, 4, 4, 4, 2, 2, 0},
      .x = x.read(),
      .lane = {kernels::NormLane{c.read_as<float>(), c.read_as<float>()}, {}},
      .y = y.write(),
      .argmax = argmax.write_as<uint8_t>()};
  EXPECT_NO_THROW(kernels::norm_pool_forward(stream(), good));
  kernels::NormPoolForward a = good;
  a.activation = NormActivation::kReluThenAdd;
  EXPECT_THROW(kernels::norm_pool_forward(stream(), a), Error);
  a = good;
  a.norm = {4, 8, 4, 4};  // half a sample shares statistics
  a.lane[0] = {blocks.read_as<float>(), blocks.read_as<float>()};
  EXPECT_THROW(kernels::norm_pool_forward(stream(), a), Error);
  a = good;
  a.fork = true, a.lanes = 2, a.lane[1] = a.lane[0];
  EXPECT_THROW(kernels::norm_pool_forward(stream(), a), Error);
  a = good;
  a.pool.stride = 1;
  EXPECT_THROW(kernels::norm_pool_forward(stream(), a), Error);
}

}  // namespace
}  // namespace passnorm::test
