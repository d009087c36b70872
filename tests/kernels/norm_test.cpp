#include "kernels/norm.hpp"

#include "bench/cases/norm.hpp"
#include "tests/reference/norm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using cases::NormCase;
using kernels::NormActivation;
using kernels::NormGeometry;
using kernels::NormKind;
using kernels::NormVariant;
using reference::Sums;

constexpr float kEps = 1e-5f;
constexpr std::array<NormKind, 4> kKinds{NormKind::kBatch, NormKind::kGroup, NormKind::kInstance,
                                         NormKind::kLayer};
constexpr std::array<const char*, 4> kKindNames{"batch", "group", "instance", "layer"};
constexpr std::array<NormActivation, 3> kActivations{
    NormActivation::kIdentity, NormActivation::kRelu, NormActivation::kReluThenAdd};
constexpr std::array<const char*, 3> kActivationNames{"identity", "relu", "relu_then_add"};

/// One affine; both lanes of an input that stands for both; each lane's own half of the input, with
/// an affine each or one for both.
enum class Mode { kOne, kFork, kSplit, kHalves };
constexpr std::array<Mode, 3> kModes{Mode::kOne, Mode::kFork, Mode::kSplit};
constexpr std::array<const char*, 4> kModeNames{"one lane", "fork", "split", "halves"};

/// What the device has; what does not fit for one read is left out.
#if PASSNORM_TEST_CUDA
constexpr std::array kVariants{NormVariant::kTwoPass, NormVariant::kOneRead};
#else
constexpr std::array kVariants{NormVariant::kTwoPass};
#endif
const char* name_of(NormVariant variant) {
  return variant == NormVariant::kTwoPass ? "two passes" : "one read";
}

struct Param {
  NormKind kind;
  NormCase size;
  DType dtype;
};
std::vector<Param> params(const std::vector<NormCase>& sizes) {
  std::vector<Param> all;
  for (NormKind kind : kKinds)
    for (const NormCase& size : sizes)
      for (DType dtype : kStorage) all.push_back({kind, size, dtype});
  return all;
}
void PrintTo(const Param& p, std::ostream* out) {
  *out << kKindNames[static_cast<size_t>(p.kind)] << "_" << p.size.name << "_" << name_of(p.dtype);
}

/// The arguments of one norm of a parameterised size, its oracle's description and its data.
struct Data {
  NormGeometry geometry;
  reference::Norm norm;
  Buffer x;
  std::array<Buffer, 2> mean, rstd, scale, shift;
  bool affine;

  /// statistics_of_lane: each lane gets its own mean and rstd, which only apply and fixed
  /// statistics allow in a fork. tag: data of another tag are other data.
  Data(const Param& p, Mode mode, bool with_affine, bool statistics_of_lane = false,
       uint32_t tag = 0)
      : affine(with_affine) {
    const NormCase& z = p.size;
    const int64_t parts = mode == Mode::kSplit || mode == Mode::kHalves ? 2 : 1;
    geometry = NormGeometry::of(p.kind, z.n, z.s, z.c, parts, z.group_channels);
    norm = {.kind = static_cast<reference::Kind>(p.kind),
            .n = z.n,
            .s = z.s,
            .c = z.c,
            .parts = parts,
            .groups = z.c / z.group_channels,
            .lanes = mode == Mode::kOne || mode == Mode::kHalves ? 1 : 2,
            .fork = mode == Mode::kFork};
    for (size_t l = 0; l < 2; ++l) {
      // Apply and backward are told mean and rstd: any will do.
      std::vector<double> m = uniform(norm.sets(), tag + 40, 0, 2),
                          r = uniform(norm.sets(), tag + 41, 0.5, 2);
      for (size_t k = 0; k < m.size(); ++k) {
        if (statistics_of_lane && l == 1) m[k] += 0.25, r[k] *= 1.5;
        // the other lane's blocks are not this lane's business
        const size_t block = k / static_cast<size_t>(geometry.groups),
                     half = static_cast<size_t>(geometry.blocks) / 2;
        if (mode == Mode::kSplit && (block >= half) != (l == 1)) m[k] = r[k] = std::nan("");
      }
      mean[l] = Buffer(DType::kF32, m);
      rstd[l] = Buffer(DType::kF32, r);
      if (!affine) continue;
      scale[l] = Buffer(DType::kF32, uniform(z.c, tag + 10 + static_cast<uint32_t>(l), -2, 2));
      shift[l] = Buffer(DType::kF32, uniform(z.c, tag + 20 + static_cast<uint32_t>(l)));
    }
    x = Buffer(p.dtype, away_from_kinks(p.dtype, uniform(norm.x_size(), tag + 1, -1, 3)));
  }

  reference::Affines affines() const {
    reference::Affines a;
    for (size_t l = 0; l < 2; ++l)
      a[l] = {mean[l].values(), rstd[l].values(), scale[l].values(), shift[l].values()};
    return a;
  }
  std::array<kernels::NormLane, 2> lanes() const {
    std::array<kernels::NormLane, 2> a;
    for (size_t l = 0; l < static_cast<size_t>(norm.lanes); ++l)
      a[l] = {mean[l].read_as<float>(), rstd[l].read_as<float>(), scale[l].read_as<float>(),
              shift[l].read_as<float>()};
    return a;
  }

 private:
  /// relu passes or not by the sign of u: rounding must not decide it, so elements with u near 0
  /// are drawn again.
  std::vector<double> away_from_kinks(DType dtype, std::vector<double> values) const {
    const reference::Affines a = affines();
    for (uint32_t round = 0; round < 64; ++round) {
      values = Buffer(dtype, values).values();
      const std::vector<double> next = uniform(norm.x_size(), 100 + round, -1, 3);
      bool clear = true;
      norm.for_each_result([&](size_t, size_t xi, size_t set, size_t l, size_t channel) {
        const reference::PreActivation e =
            reference::pre_activation(a[l], values[xi], set, channel);
        if (std::abs(e.u) > 0x1p-10 * e.u_magnitude) return;
        values[xi] = next[xi];
        clear = false;
      });
      if (clear) return values;
    }
    ADD_FAILURE() << "no data away from the kinks of relu";
    return values;
  }
};

/// Sizes of a residual: none, as y, and where there are two lanes half of y.
std::vector<int64_t> residual_sizes(const reference::Norm& norm) {
  std::vector<int64_t> sizes{0, norm.y_size()};
  if (norm.lanes == 2) sizes.push_back(norm.y_size() / 2);
  return sizes;
}

class Norm : public testing::TestWithParam<Param> {
 protected:
  DType dtype() const { return GetParam().dtype; }
};

/// var: an empty buffer, or the variances too.
void expect_statistics(const Data& d, const Buffer& x, const Buffer& measured_mean,
                       const Buffer& measured_rstd, const Buffer& measured_var) {
  const reference::Statistics r = reference::norm_statistics(d.norm, x.values());
  const double m = r.count[0];
  // Partial means are combined pair by pair: their size is rounded once per level.
  const Bound mean_bound{.terms = m + 3,
                         .roundings = 2 + static_cast<int>(std::ceil(std::log2(m)))};
  const Bound var_bound{.terms = m + 4};
  Sums mean(d.norm.sets()), var(d.norm.sets()), rstd(d.norm.sets());
  for (int64_t i = 0; i < d.norm.sets(); ++i) {
    const auto k = static_cast<size_t>(i);
    mean.add(i, r.mean[k], r.mean_magnitude[k]);
    // A rounded mean adds the square of its error to a two-pass variance.
    const double mean_error = mean_bound.tolerance(r.mean[k], r.mean_magnitude[k], DType::kF32);
    const double magnitude =
        r.var_magnitude[k] + mean_error * mean_error / gamma(m + 4, unit_roundoff(DType::kF32));
    var.add(i, r.var[k], magnitude);
    const double v = r.var[k] + kEps;
    rstd.add(i, 1 / std::sqrt(v), (1 + magnitude / v) / std::sqrt(v));
  }
  const std::vector<int64_t> sizes{d.geometry.blocks, d.geometry.groups};
  EXPECT_TRUE(close(measured_mean, mean, mean_bound, sizes));
  EXPECT_TRUE(close(measured_rstd, rstd, {.terms = m + 8}, sizes));
  if (measured_var.size() > 0) {
    EXPECT_TRUE(close(measured_var, var, var_bound, sizes));
  }
}

void check_statistics(const Param& param) {
  const DType dtype = param.dtype;
  for (NormVariant variant : kVariants)
    for (Mode mode : {Mode::kOne, Mode::kSplit})
      for (const auto& [offset, drift] : {std::pair{0.0, 0.0}, {0.0, 4.0}, {1000.0, 0.0}}) {
        // Far from 0, sums of squares would cancel; 16-bit types cannot hold such numbers.
        if (offset != 0 && dtype != DType::kF32) continue;
        for (bool with_var : {true, false}) {
          SCOPED_TRACE(testing::Message()
                       << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)]
                       << ", offset " << offset << ", drift " << drift << ", var " << with_var);
          const Data d(param, mode, false);
          std::vector<double> values = d.x.values();
          // A drift makes parts of a set differ in their means: most of the variance lies between
          // them.
          // Sets differ in their offsets.
          const size_t channels = static_cast<size_t>(d.norm.c),
                       groups = static_cast<size_t>(d.geometry.groups);
          for (size_t i = 0; i < values.size(); ++i)
            values[i] += offset * static_cast<double>(1 + i % channels / (channels / groups) % 3) +
                         drift * static_cast<double>(i) / static_cast<double>(values.size());
          const Buffer x(dtype, values);
          const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
            Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()), var;
            if (with_var) var = Buffer(DType::kF32, d.norm.sets());
            const kernels::NormStatistics statistics{.geometry = d.geometry,
                                                     .x = x.read(),
                                                     .mean = mean.write_as<float>(),
                                                     .rstd = rstd.write_as<float>(),
                                                     .var = var.write_as<float>(),
                                                     .eps = kEps};
            if (variant == NormVariant::kTwoPass) {
              kernels::norm_statistics(s, statistics);
            } else {
              Buffer y(dtype, d.norm.x_size());
              const kernels::NormForward a{
                  .statistics = statistics,
                  .apply = {.geometry = d.geometry,
                            .x = statistics.x,
                            .residual = {},
                            .lane = {{{statistics.mean, statistics.rstd, {}, {}}, {}}},
                            .y = y.write()},
                  .variant = variant};
              if (!fits_one_read(s, a)) return {};
              kernels::norm_forward(s, a);
              s.synchronize();
            }
            return list(std::move(mean), std::move(rstd), std::move(var));
          });
          if (!out.empty()) expect_statistics(d, x, out[0], out[1], out[2]);
        }
      }
}

TEST_P(Norm, Statistics) { check_statistics(GetParam()); }

TEST_P(Norm, Apply) {
  for (Mode mode : kModes)
    for (bool affine : {true, false})
      for (NormActivation activation : kActivations)
        for (bool statistics_of_lane : {false, true}) {
          if (statistics_of_lane && mode == Mode::kOne) continue;
          const Data d(GetParam(), mode, affine, statistics_of_lane);
          for (int64_t residual_size : residual_sizes(d.norm)) {
            SCOPED_TRACE(testing::Message()
                         << kModeNames[static_cast<size_t>(mode)] << ", "
                         << kActivationNames[static_cast<size_t>(activation)] << ", affine "
                         << affine << ", residual " << residual_size << " of " << d.norm.y_size()
                         << ", own statistics " << statistics_of_lane);
            const Buffer residual(dtype(), uniform(residual_size, 2));
            const auto out = on_every_stream([&](TestStream& s) {
              Buffer y(dtype(), d.norm.y_size());
              kernels::norm_apply(s, {.geometry = d.geometry,
                                      .lanes = static_cast<int>(d.norm.lanes),
                                      .fork = d.norm.fork,
                                      .activation = activation,
                                      .x = d.x.read(),
                                      .residual = residual.read(),
                                      .lane = d.lanes(),
                                      .y = y.write()});
              return list(std::move(y));
            });
            const Sums expected =
                reference::norm_apply(d.norm, static_cast<reference::Activation>(activation),
                                      d.x.values(), residual.values(), d.affines());
            EXPECT_TRUE(
                close(out[0], expected, {.terms = 6}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
          }
        }
}

/// A norm and that of its residual: lanes of the residual as wide as y's, or half of them.
struct Added {
  Mode mode, residual;
};
constexpr std::array<Added, 10> kAdded{{{Mode::kOne, Mode::kOne},
                                        {Mode::kFork, Mode::kOne},
                                        {Mode::kFork, Mode::kFork},
                                        {Mode::kFork, Mode::kSplit},
                                        {Mode::kFork, Mode::kHalves},
                                        {Mode::kSplit, Mode::kOne},
                                        {Mode::kSplit, Mode::kFork},
                                        {Mode::kSplit, Mode::kSplit},
                                        {Mode::kHalves, Mode::kFork},
                                        {Mode::kHalves, Mode::kSplit}}};

/// The residual's data for a norm of a parameterised size.
Data data_of_residual(Param p, const Added& added, bool affine, bool statistics_of_lane) {
  const bool lanes_of_rows = added.residual == Mode::kSplit || added.residual == Mode::kHalves;
  if (added.mode == Mode::kFork && lanes_of_rows) p.size.n *= 2;
  if (added.mode != Mode::kFork && added.mode != Mode::kOne && !lanes_of_rows) p.size.n /= 2;
  return Data(p, added.residual, affine, statistics_of_lane, 500);
}

kernels::NormApply apply_to_both(const Data& d, const Data& r, NormActivation activation, View y) {
  return {.geometry = d.geometry,
          .lanes = static_cast<int>(d.norm.lanes),
          .fork = d.norm.fork,
          .activation = activation,
          .x = d.x.read(),
          .residual = r.x.read(),
          .residual_lane = r.lanes(),
          .lane = d.lanes(),
          .y = y};
}

TEST_P(Norm, ApplyAlsoToTheResidual) {
  for (const Added& added : kAdded)
    for (bool affine : {true, false})
      for (NormActivation activation : kActivations) {
        SCOPED_TRACE(testing::Message()
                     << kModeNames[static_cast<size_t>(added.mode)] << ", residual "
                     << kModeNames[static_cast<size_t>(added.residual)] << ", "
                     << kActivationNames[static_cast<size_t>(activation)] << ", affine " << affine);
        const bool statistics_of_lane = !affine;
        const Data d(GetParam(), added.mode, affine, statistics_of_lane),
            r = data_of_residual(GetParam(), added, affine, statistics_of_lane);
        const auto out = on_every_stream([&](TestStream& s) {
          Buffer y(dtype(), d.norm.y_size());
          kernels::norm_apply(s, apply_to_both(d, r, activation, y.write()));
          return list(std::move(y));
        });
        const Sums expected =
            reference::norm_apply(d.norm, static_cast<reference::Activation>(activation),
                                  d.x.values(), d.affines(), r.norm, r.x.values(), r.affines());
        EXPECT_TRUE(
            close(out[0], expected, {.terms = 10}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
      }
}

/// In f32, to the bit, what two calls give that store the normalised residual in between.
TEST_P(Norm, ApplyAlsoToTheResidualIsTwoCalls) {
  if (dtype() != DType::kF32) return;
  for (const Added& added : kAdded)
    for (NormActivation activation : kActivations) {
      const Data d(GetParam(), added.mode, true, true),
          r = data_of_residual(GetParam(), added, true, true);
      Buffer once(dtype(), d.norm.y_size()), residual(dtype(), r.norm.y_size()),
          twice(dtype(), d.norm.y_size());
      kernels::NormApply a = apply_to_both(d, r, activation, once.write());
      kernels::norm_apply(stream(), a);
      kernels::norm_apply(stream(), {.geometry = r.geometry,
                                     .lanes = static_cast<int>(r.norm.lanes),
                                     .fork = r.norm.fork,
                                     .x = r.x.read(),
                                     .residual = {},
                                     .lane = r.lanes(),
                                     .y = residual.write()});
      a.residual = residual.read();
      a.residual_lane = {};
      a.y = twice.write();
      kernels::norm_apply(stream(), a);
      EXPECT_EQ(once.bits(), twice.bits())
          << kModeNames[static_cast<size_t>(added.mode)] << ", residual "
          << kModeNames[static_cast<size_t>(added.residual)] << ", "
          << kActivationNames[static_cast<size_t>(activation)];
    }
}

TEST(NormApply, RefusesAResidualWhoseNormDoesNotFit) {
  const Param p{NormKind::kBatch, {"small", 2, 4, 8, 8}, DType::kF32};
  const Added added{Mode::kFork, Mode::kSplit};
  const Data d(p, added.mode, true), r = data_of_residual(p, added, true, false);
  Buffer y(DType::kF32, d.norm.y_size());
  const kernels::NormApply fits = apply_to_both(d, r, NormActivation::kIdentity, y.write());
  EXPECT_NO_THROW(check(fits));
  const auto refuses = [&](auto&& change) {
    kernels::NormApply a = fits;
    change(a);
    EXPECT_THROW(check(a), Error);
  };
  refuses([](auto& a) { a.residual = {}; });
  refuses([](auto& a) { a.residual_lane[0] = {}; });         // only the second lane's
  refuses([](auto& a) { a.residual_lane[0] = a.lane[0]; });  // tables of half the rows
  refuses([](auto& a) { a.residual_lane[1].rstd = a.lane[1].rstd; });
  refuses([](auto& a) { a.residual_lane[1].scale = a.lane[0].scale.first(7); });
  // Half a batch is no block.
  refuses([&](auto& a) {
    a.fork = false, a.lanes = 1, a.y.size /= 2;
    a.residual.size = a.y.size / 2;
  });
}

/// The statistics that a call took in place of the data's own.
reference::Affines with_statistics(reference::Affines a, const Buffer& mean, const Buffer& rstd) {
  for (reference::Affine& lane : a) lane.mean = mean.values(), lane.rstd = rstd.values();
  return a;
}

/// Statistics, running averages and apply by the statistics.
TEST_P(Norm, Forward) {
  for (NormVariant variant : kVariants)
    for (Mode mode : kModes)
      for (NormActivation activation : kActivations) {
        const Data d(GetParam(), mode, true);
        // Each half of a split batch moves averages of its own, or both the same one after the
        // other.
        const bool batch = GetParam().kind == NormKind::kBatch, split = mode == Mode::kSplit,
                   same = activation == NormActivation::kIdentity;
        const float momentum = 0.25f;
        const std::vector<double> before = uniform(d.norm.c, 5, 0.5, 2);
        for (int64_t residual_size : residual_sizes(d.norm)) {
          SCOPED_TRACE(testing::Message()
                       << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)] << ", "
                       << kActivationNames[static_cast<size_t>(activation)] << ", residual "
                       << residual_size << " of " << d.norm.y_size());
          const Buffer residual(dtype(), uniform(residual_size, 2));
          const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
            Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()),
                var(DType::kF32, d.norm.sets()), y(dtype(), d.norm.y_size());
            std::array<Buffer, 2> running_mean, running_var;
            for (size_t i = 0; i < 2; ++i)
              running_mean[i] = Buffer(DType::kF32, before),
              running_var[i] = Buffer(DType::kF32, before);
            kernels::NormForward a{.statistics = {.geometry = d.geometry,
                                                  .x = d.x.read(),
                                                  .mean = mean.write_as<float>(),
                                                  .rstd = rstd.write_as<float>(),
                                                  .var = var.write_as<float>(),
                                                  .eps = kEps},
                                   .apply = {.geometry = d.geometry,
                                             .lanes = static_cast<int>(d.norm.lanes),
                                             .fork = d.norm.fork,
                                             .activation = activation,
                                             .x = d.x.read(),
                                             .residual = residual.read(),
                                             .lane = d.lanes(),
                                             .y = y.write()},
                                   .variant = variant};
            for (kernels::NormLane& lane : a.apply.lane)
              lane.mean = a.statistics.mean, lane.rstd = a.statistics.rstd;
            for (size_t i = 0; batch && i < (split ? 2 : 1); ++i) {
              const size_t to = same ? 0 : i, c = static_cast<size_t>(d.norm.c);
              a.running[i] = {.channels = d.norm.c,
                              .count = d.geometry.group_size(),
                              .mean = a.statistics.mean.subspan(i * c, c),
                              .var = a.statistics.var.subspan(i * c, c),
                              .running_mean = running_mean[to].write_as<float>(),
                              .running_var = running_var[to].write_as<float>(),
                              .momentum = momentum};
            }
            if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
            kernels::norm_forward(s, a);
            return list(std::move(mean), std::move(rstd), std::move(var), std::move(y),
                        std::move(running_mean[0]), std::move(running_var[0]),
                        std::move(running_mean[1]), std::move(running_var[1]));
          });
          if (out.empty()) continue;
          expect_statistics(d, d.x, out[0], out[1], out[2]);
          const Sums y = reference::norm_apply(
              d.norm, static_cast<reference::Activation>(activation), d.x.values(),
              residual.values(), with_statistics(d.affines(), out[0], out[1]));
          EXPECT_TRUE(close(out[3], y, {.terms = 6}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
          const double m = static_cast<double>(d.geometry.group_size());
          const std::vector<double> start = Buffer(DType::kF32, before).values();
          for (size_t to = 0; to < 2; ++to) {
            std::vector<double> running_mean = start, running_var = start;
            int updates = 0;
            for (size_t i = 0; batch && i < (split ? 2 : 1); ++i) {
              if ((same ? 0 : i) != to) continue;
              std::vector<double> mean, var;
              for (int64_t c = 0; c < d.norm.c; ++c) {
                const int64_t at = static_cast<int64_t>(i) * d.norm.c + c;
                mean.push_back(out[0][at]), var.push_back(out[2][at] * (m > 1 ? m / (m - 1) : 1));
              }
              running_mean = reference::running_average(running_mean, mean, momentum).value;
              running_var = reference::running_average(running_var, var, momentum).value;
              ++updates;
            }
            const auto expect = [&](const Buffer& got, const std::vector<double>& expected) {
              Sums sums(d.norm.c);
              for (int64_t c = 0; c < d.norm.c; ++c) {
                const double value = expected[static_cast<size_t>(c)];
                sums.add(c, value, std::abs(value) + std::abs(start[static_cast<size_t>(c)]) + 4);
              }
              EXPECT_TRUE(close(got, sums, {.terms = 5.0 * updates})) << "averages " << to;
            };
            expect(out[4 + 2 * to], running_mean);
            expect(out[5 + 2 * to], running_var);
          }
        }
      }
}

/// A residual with a norm of its own.
TEST_P(Norm, ForwardAlsoToTheResidual) {
  for (NormVariant variant : kVariants)
    for (const Added& added : kAdded) {
      SCOPED_TRACE(testing::Message()
                   << name_of(variant) << ", " << kModeNames[static_cast<size_t>(added.mode)]
                   << ", residual " << kModeNames[static_cast<size_t>(added.residual)]);
      const Data d(GetParam(), added.mode, true),
          r = data_of_residual(GetParam(), added, true, false);
      const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
        Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()),
            y(dtype(), d.norm.y_size());
        kernels::NormForward a{.statistics = {.geometry = d.geometry,
                                              .x = d.x.read(),
                                              .mean = mean.write_as<float>(),
                                              .rstd = rstd.write_as<float>(),
                                              .eps = kEps},
                               .apply = apply_to_both(d, r, NormActivation::kRelu, y.write()),
                               .variant = variant};
        for (kernels::NormLane& lane : a.apply.lane)
          lane.mean = a.statistics.mean, lane.rstd = a.statistics.rstd;
        if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
        kernels::norm_forward(s, a);
        return list(std::move(mean), std::move(rstd), std::move(y));
      });
      if (out.empty()) continue;
      const Sums expected = reference::norm_apply(
          d.norm, reference::Activation::kRelu, d.x.values(),
          with_statistics(d.affines(), out[0], out[1]), r.norm, r.x.values(), r.affines());
      EXPECT_TRUE(close(out[2], expected, {.terms = 10}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
    }
}

/// What a backward call leaves out or adds to.
struct Wants {
  const char* name;
  bool dx = true, affine = true, dresidual = true;
  bool accumulate_dx = false, accumulate_affine = false, accumulate_dresidual = false;
};
constexpr std::array<Wants, 7> kWants{
    {{.name = "all"},
     {.name = "all added",
      .accumulate_dx = true,
      .accumulate_affine = true,
      .accumulate_dresidual = true},
     {.name = "dx added", .accumulate_dx = true},
     {.name = "affine added", .accumulate_affine = true},
     {.name = "no dx", .dx = false},
     {.name = "no affine", .affine = false, .accumulate_dresidual = true},
     {.name = "no dresidual", .dresidual = false}}};

TEST_P(Norm, Backward) {
  for (Mode mode : kModes)
    for (bool affine : {true, false}) {
      const Data d(GetParam(), mode, affine);
      const auto lanes = static_cast<size_t>(d.norm.lanes);
      const Buffer dy(dtype(), uniform(d.norm.y_size(), 3));
      for (NormActivation activation : kActivations)
        for (int64_t residual_size : residual_sizes(d.norm))
          for (bool fixed : {false, true}) {
            const auto oracle_activation = static_cast<reference::Activation>(activation);
            const Buffer residual(dtype(), uniform(residual_size, 2));
            const Buffer y(dtype(), reference::norm_apply(d.norm, oracle_activation, d.x.values(),
                                                          residual.values(), d.affines())
                                        .value);
            const bool y_needed = activation == NormActivation::kRelu && residual_size > 0;
            const reference::NormGradients expected =
                reference::norm_backward(d.norm, oracle_activation, fixed, d.x.values(), y.values(),
                                         dy.values(), residual_size, d.affines());
            const auto check = [&](const Wants& wants, NormVariant variant) {
              SCOPED_TRACE(testing::Message()
                           << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)]
                           << ", " << kActivationNames[static_cast<size_t>(activation)]
                           << ", affine " << affine << ", residual " << residual_size << " of "
                           << d.norm.y_size() << ", fixed " << fixed << ", " << wants.name);
              const auto output = [&](bool wanted, bool accumulate, DType type, int64_t n,
                                      uint32_t tag) {
                if (!wanted || n == 0) return Buffer();
                return accumulate ? Buffer(type, uniform(n, tag)) : Buffer(type, n);
              };
              const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
                Buffer dx = output(wants.dx, wants.accumulate_dx, dtype(), d.norm.x_size(), 30);
                Buffer dresidual =
                    output(wants.dresidual, wants.accumulate_dresidual, dtype(), residual_size, 31);
                std::array<Buffer, 2> dscale, dshift;
                kernels::NormBackward a{.geometry = d.geometry,
                                        .lanes = static_cast<int>(lanes),
                                        .fork = d.norm.fork,
                                        .activation = activation,
                                        .fixed_statistics = fixed,
                                        .x = d.x.read(),
                                        .y = y_needed ? y.read() : ConstView(),
                                        .has_residual = residual_size > 0,
                                        .dy = dy.read(),
                                        .lane = d.lanes(),
                                        .dscale = {},
                                        .dshift = {},
                                        .accumulate_affine = wants.accumulate_affine,
                                        .dx = dx.write(),
                                        .accumulate_dx = wants.accumulate_dx,
                                        .dresidual = dresidual.write(),
                                        .accumulate_dresidual = wants.accumulate_dresidual,
                                        .variant = variant};
                for (size_t l = 0; l < lanes; ++l) {
                  dscale[l] = output(wants.affine, wants.accumulate_affine, DType::kF32, d.norm.c,
                                     32 + static_cast<uint32_t>(l));
                  dshift[l] = output(wants.affine, wants.accumulate_affine, DType::kF32, d.norm.c,
                                     34 + static_cast<uint32_t>(l));
                  a.dscale[l] = dscale[l].write_as<float>();
                  a.dshift[l] = dshift[l].write_as<float>();
                }
                if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
                kernels::norm_backward(s, a);
                return list(std::move(dx), std::move(dresidual), std::move(dscale[0]),
                            std::move(dshift[0]), std::move(dscale[1]), std::move(dshift[1]));
              });
              if (out.empty()) return;
              const auto with_before = [&](Sums sums, bool accumulate, DType type, uint32_t tag) {
                if (accumulate) sums += Buffer(type, uniform(sums.size(), tag)).values();
                return sums;
              };
              const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
              const double members =
                  static_cast<double>(d.geometry.group_size() * (d.norm.fork ? 2 : 1));
              if (wants.dx) {
                EXPECT_TRUE(close(out[0],
                                  with_before(expected.dx, wants.accumulate_dx, dtype(), 30),
                                  {.terms = members + 12}, {d.norm.n, d.norm.s, d.norm.c}));
              }
              if (wants.dresidual && residual_size > 0) {
                // Lanes in different halves of dy are added one after the other, and rounded in
                // between.
                const Bound bound{.terms = 2,
                                  .compute = mode == Mode::kSplit ? dtype() : DType::kF32};
                EXPECT_TRUE(
                    close(out[1],
                          with_before(expected.dresidual, wants.accumulate_dresidual, dtype(), 31),
                          bound));
              }
              for (uint32_t l = 0; wants.affine && l < lanes; ++l) {
                EXPECT_TRUE(close(
                    out[2 + 2 * l],
                    with_before(expected.dscale[l], wants.accumulate_affine, DType::kF32, 32 + l),
                    {.terms = rows + 4}))
                    << "dscale of lane " << l;
                EXPECT_TRUE(close(
                    out[3 + 2 * l],
                    with_before(expected.dshift[l], wants.accumulate_affine, DType::kF32, 34 + l),
                    {.terms = rows + 1}))
                    << "dshift of lane " << l;
              }
            };
            for (NormVariant variant : kVariants)
              for (const Wants& wants : kWants) {
                // With fixed statistics and without dx there are no two passes to save; what is
                // added to by itself is the two passes' business.
                if (variant == NormVariant::kOneRead &&
                    (fixed || !wants.dx || wants.accumulate_dx != wants.accumulate_affine))
                  continue;
                if (residual_size == 0 && !wants.dresidual) continue;
                if (!affine && wants.accumulate_affine && !wants.accumulate_dx)
                  continue;  // one of the two is enough
                check(wants, variant);
              }
          }
    }
}

/// The fork writes, to the bit, what two calls with one lane each write.
TEST_P(Norm, ForkIsTwoCalls) {
  const Data d(GetParam(), Mode::kFork, true);
  for (NormActivation activation : kActivations)
    for (bool with_residual : {false, true}) {
      const Buffer residual(dtype(), uniform(with_residual ? d.norm.x_size() : 0, 2));
      Buffer fork(dtype(), d.norm.y_size());
      kernels::norm_apply(stream(), {.geometry = d.geometry,
                                     .lanes = 2,
                                     .fork = true,
                                     .activation = activation,
                                     .x = d.x.read(),
                                     .residual = residual.read(),
                                     .lane = d.lanes(),
                                     .y = fork.write()});
      std::vector<std::byte> both;
      for (size_t l = 0; l < 2; ++l) {
        Buffer y(dtype(), d.norm.x_size());
        kernels::norm_apply(stream(), {.geometry = d.geometry,
                                       .activation = activation,
                                       .x = d.x.read(),
                                       .residual = residual.read(),
                                       .lane = {d.lanes()[l], {}},
                                       .y = y.write()});
        const auto bits = y.bits();
        both.insert(both.end(), bits.begin(), bits.end());
      }
      EXPECT_EQ(fork.bits(), both)
          << kActivationNames[static_cast<size_t>(activation)] << ", residual " << with_residual;
    }
}

INSTANTIATE_TEST_SUITE_P(Odd, Norm, testing::ValuesIn(params(cases::odd_norms())),
                         testing::PrintToStringParamName());
/// Long enough to be reduced in parts, and divided by nothing.
const NormCase kLong{"long", 2, 1031, 65, 13};
INSTANTIATE_TEST_SUITE_P(Large, Norm,
                         testing::ValuesIn(std::vector<Param>{
                             {NormKind::kBatch, kLong, DType::kBF16},
                             {NormKind::kGroup, kLong, DType::kF32},
                             {NormKind::kBatch, cases::layer_norms(2)[2], DType::kF32}}),
                         testing::PrintToStringParamName());

void check_backward_of_fork(const Param& param, NormVariant variant) {
  SCOPED_TRACE(name_of(variant));
  const DType dtype = param.dtype;
  const Data d(param, Mode::kFork, true);
  const Buffer dy(dtype, uniform(d.norm.y_size(), 3));
  const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
    Buffer dx(dtype, d.norm.x_size());
    std::array<Buffer, 2> dscale, dshift;
    for (size_t l = 0; l < 2; ++l)
      dscale[l] = Buffer(DType::kF32, d.norm.c), dshift[l] = Buffer(DType::kF32, d.norm.c);
    const kernels::NormBackward a{
        .geometry = d.geometry,
        .lanes = 2,
        .fork = true,
        .activation = NormActivation::kRelu,
        .x = d.x.read(),
        .y = {},
        .dy = dy.read(),
        .lane = d.lanes(),
        .dscale = {dscale[0].write_as<float>(), dscale[1].write_as<float>()},
        .dshift = {dshift[0].write_as<float>(), dshift[1].write_as<float>()},
        .dx = dx.write(),
        .dresidual = {},
        .variant = variant};
    if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
    kernels::norm_backward(s, a);
    return list(std::move(dx), std::move(dscale[0]), std::move(dscale[1]), std::move(dshift[0]),
                std::move(dshift[1]));
  });
  if (out.empty()) return;
  const reference::NormGradients expected = reference::norm_backward(
      d.norm, reference::Activation::kRelu, false, d.x.values(), {}, dy.values(), 0, d.affines());
  const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
  EXPECT_TRUE(
      close(out[0], expected.dx, {.terms = 2 * static_cast<double>(d.geometry.group_size()) + 12}));
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(close(out[1 + l], expected.dscale[l], {.terms = rows + 4}))
        << "dscale of lane " << l;
    EXPECT_TRUE(close(out[3 + l], expected.dshift[l], {.terms = rows + 1}))
        << "dshift of lane " << l;
  }
}

void check_backward_of_fork(const Param& param) {
  for (NormVariant variant : kVariants) check_backward_of_fork(param, variant);
}

using NormFull = Norm;
TEST_P(NormFull, BackwardOfForkedLayer) { check_backward_of_fork(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Layers, NormFull, testing::ValuesIn(params(cases::layer_norms(8))),
                         testing::PrintToStringParamName());

/// What grids of a GPU walk over in several ways: many rows of few channels, groups wider than the
/// channels that a block's threads take side by side (with vectors and without), many small
/// samples, samples of one position.
const std::vector<NormCase> kWalks{
    {"rows", 2, 2100, 64, 16},        {"three_channels", 2, 2100, 3, 3},
    {"wide_groups", 4, 37, 512, 128}, {"wide_odd_groups", 4, 37, 99, 33},
    {"samples", 600, 5, 48, 16},      {"long_samples", 70, 40, 48, 16},
    {"positions", 64, 1, 512, 16},    {"one_sample", 2, 1024, 32, 32}};
using NormWalk = Norm;

TEST_P(NormWalk, Statistics) { check_statistics(GetParam()); }

TEST_P(NormWalk, Apply) {
  const Data d(GetParam(), Mode::kFork, true);
  const Buffer residual(dtype(), uniform(d.norm.y_size(), 2));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(dtype(), d.norm.y_size());
    kernels::norm_apply(s, {.geometry = d.geometry,
                            .lanes = 2,
                            .fork = true,
                            .activation = NormActivation::kRelu,
                            .x = d.x.read(),
                            .residual = residual.read(),
                            .lane = d.lanes(),
                            .y = y.write()});
    return list(std::move(y));
  });
  EXPECT_TRUE(close(out[0],
                    reference::norm_apply(d.norm, reference::Activation::kRelu, d.x.values(),
                                          residual.values(), d.affines()),
                    {.terms = 6}));
}

TEST_P(NormWalk, BackwardOfFork) { check_backward_of_fork(GetParam()); }

/// Each lane its half of the rows, and both of them the same residual.
TEST_P(NormWalk, BackwardOfHalves) {
  const Data d(GetParam(), Mode::kSplit, true);
  const auto activation = reference::Activation::kRelu;
  const int64_t half = d.norm.y_size() / 2;
  const Buffer dy(dtype(), uniform(d.norm.y_size(), 3)), residual(dtype(), uniform(half, 2));
  const Buffer y(dtype(), reference::norm_apply(d.norm, activation, d.x.values(), residual.values(),
                                                d.affines())
                              .value);
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer dx(dtype(), d.norm.x_size()), dresidual(dtype(), half);
    std::array<Buffer, 2> dscale, dshift;
    for (size_t l = 0; l < 2; ++l)
      dscale[l] = Buffer(DType::kF32, d.norm.c), dshift[l] = Buffer(DType::kF32, d.norm.c);
    kernels::norm_backward(s, {.geometry = d.geometry,
                               .lanes = 2,
                               .activation = NormActivation::kRelu,
                               .x = d.x.read(),
                               .y = y.read(),
                               .has_residual = true,
                               .dy = dy.read(),
                               .lane = d.lanes(),
                               .dscale = {dscale[0].write_as<float>(), dscale[1].write_as<float>()},
                               .dshift = {dshift[0].write_as<float>(), dshift[1].write_as<float>()},
                               .dx = dx.write(),
                               .dresidual = dresidual.write()});
    return list(std::move(dx), std::move(dresidual), std::move(dscale[0]), std::move(dscale[1]),
                std::move(dshift[0]), std::move(dshift[1]));
  });
  const reference::NormGradients expected = reference::norm_backward(
      d.norm, activation, false, d.x.values(), y.values(), dy.values(), half, d.affines());
  const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
  EXPECT_TRUE(
      close(out[0], expected.dx, {.terms = static_cast<double>(d.geometry.group_size()) + 12}));
  EXPECT_TRUE(close(out[1], expected.dresidual, {.terms = 2, .compute = dtype()}));
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(close(out[2 + l], expected.dscale[l], {.terms = rows + 4})) << "lane " << l;
    EXPECT_TRUE(close(out[4 + l], expected.dshift[l], {.terms = rows + 1})) << "lane " << l;
  }
}
INSTANTIATE_TEST_SUITE_P(Walks, NormWalk, testing::ValuesIn(params(kWalks)),
                         testing::PrintToStringParamName());

TEST(NormGeometry, KindsAreIndexSets) {
  // n = 6 samples of s = 5 positions, 32 channels
  EXPECT_EQ(NormGeometry::of(NormKind::kBatch, 6, 5, 32, 1), (NormGeometry{1, 30, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kBatch, 6, 5, 32, 2), (NormGeometry{2, 15, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kGroup, 6, 5, 32, 1), (NormGeometry{6, 5, 32, 2}));
  EXPECT_EQ(NormGeometry::of(NormKind::kGroup, 6, 5, 32, 2), (NormGeometry{6, 5, 32, 2}));
  EXPECT_EQ(NormGeometry::of(NormKind::kInstance, 6, 5, 32, 1), (NormGeometry{6, 5, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kLayer, 6, 5, 32, 2), (NormGeometry{6, 5, 32, 1}));
}

TEST(NormGeometry, WhatDoesNotDivide) {
  EXPECT_THROW(NormGeometry::of(NormKind::kGroup, 2, 3, 33, 1),
               Error);  // two groups of 16 and one channel
  EXPECT_THROW(NormGeometry::of(NormKind::kGroup, 2, 3, 8, 1), Error);  // half a group
  EXPECT_THROW(NormGeometry::of(NormKind::kBatch, 3, 3, 8, 2),
               Error);  // two lanes of one and a half samples
}

TEST(NormUpdateRunning, UnbiasedVariance) {
  for (int64_t channels : {1, 31, 33, 1000})
    for (int64_t count : {1, 2, 4096}) {
      const Buffer mean(DType::kF32, uniform(channels, 1)),
          var(DType::kF32, uniform(channels, 2, 0, 4));
      const std::vector<double> mean_before = uniform(channels, 3),
                                var_before = uniform(channels, 4, 0, 4);
      const float momentum = 0.1f;
      std::vector<double> unbiased = var.values();
      if (count > 1)
        for (double& v : unbiased) v *= static_cast<double>(count) / static_cast<double>(count - 1);
      const auto out = on_every_stream([&](TestStream& s) {
        Buffer running_mean(DType::kF32, mean_before), running_var(DType::kF32, var_before);
        kernels::norm_update_running(s, {.channels = channels,
                                         .count = count,
                                         .mean = mean.read_as<float>(),
                                         .var = var.read_as<float>(),
                                         .running_mean = running_mean.write_as<float>(),
                                         .running_var = running_var.write_as<float>(),
                                         .momentum = momentum});
        return list(std::move(running_mean), std::move(running_var));
      });
      const std::vector<double> m = Buffer(DType::kF32, mean_before).values(),
                                v = Buffer(DType::kF32, var_before).values();
      EXPECT_TRUE(
          close(out[0], reference::running_average(m, mean.values(), momentum), {.terms = 4}));
      EXPECT_TRUE(close(out[1], reference::running_average(v, unbiased, momentum), {.terms = 5}))
          << "count " << count;
    }
}

TEST(NormRstd, OfRunningVariance) {
  const Buffer var(DType::kF32, {0, 1e-12, 1e-5, 0.25, 1, 3, 1e6});
  Buffer rstd(DType::kF32, var.size());
  kernels::norm_rstd(stream(),
                     {.var = var.read_as<float>(), .rstd = rstd.write_as<float>(), .eps = kEps});
  Sums expected(var.size());
  for (int64_t i = 0; i < var.size(); ++i) expected.add(i, 1 / std::sqrt(var[i] + kEps));
  EXPECT_TRUE(close(rstd, expected, {.terms = 3}));
}

/// Batch norm in training on one channel [1, 2, 3, 6], scale 2, shift -0.5, relu; two steps of
/// running statistics.
TEST(NormWorkedValues, BatchNormTraining) {
  const Buffer x(DType::kF32, {1, 2, 3, 6}), scale(DType::kF32, std::vector{2.0}),
      shift(DType::kF32, std::vector{-0.5});
  Buffer mean(DType::kF32, 1), rstd(DType::kF32, 1), var(DType::kF32, 1), xhat(DType::kF32, 4),
      y(DType::kF32, 4);
  Buffer running_mean(DType::kF32, std::vector{0.0}), running_var(DType::kF32, std::vector{1.0});
  const NormGeometry geometry = NormGeometry::of(NormKind::kBatch, 4, 1, 1, 1);
  kernels::norm_statistics(stream(), {.geometry = geometry,
                                      .x = x.read(),
                                      .mean = mean.write_as<float>(),
                                      .rstd = rstd.write_as<float>(),
                                      .var = var.write_as<float>(),
                                      .eps = kEps});
  EXPECT_FLOAT_EQ(mean.read_as<float>()[0], 3.0f);
  EXPECT_FLOAT_EQ(var.read_as<float>()[0], 3.5f);
  const kernels::NormLane plain{mean.read_as<float>(), rstd.read_as<float>(), {}, {}};
  const kernels::NormLane affine{mean.read_as<float>(), rstd.read_as<float>(),
                                 scale.read_as<float>(), shift.read_as<float>()};
  kernels::norm_apply(stream(), {.geometry = geometry,
                                 .x = x.read(),
                                 .residual = {},
                                 .lane = {plain, {}},
                                 .y = xhat.write()});
  kernels::norm_apply(stream(), {.geometry = geometry,
                                 .activation = NormActivation::kRelu,
                                 .x = x.read(),
                                 .residual = {},
                                 .lane = {affine, {}},
                                 .y = y.write()});
  const std::array<float, 4> xhat_expected{-1.0690434404f, -0.5345217202f, 0, 1.6035651607f},
      y_expected{0, 0, 0, 2.7071303213f};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(xhat.read_as<float>()[i], xhat_expected[i]);
    EXPECT_FLOAT_EQ(y.read_as<float>()[i], y_expected[i]);
  }
  const std::array<float, 2> running_mean_expected{0.3f, 0.57f},
      running_var_expected{1.3666667f, 1.6966667f};
  for (size_t step = 0; step < 2; ++step) {
    kernels::norm_update_running(stream(), {.channels = 1,
                                            .count = 4,
                                            .mean = mean.read_as<float>(),
                                            .var = var.read_as<float>(),
                                            .running_mean = running_mean.write_as<float>(),
                                            .running_var = running_var.write_as<float>(),
                                            .momentum = 0.1f});
    EXPECT_FLOAT_EQ(running_mean.read_as<float>()[0], running_mean_expected[step]);
    EXPECT_FLOAT_EQ(running_var.read_as<float>()[0], running_var_expected[step]);
  }
}

}  // namespace
}  // namespace passnorm::test
