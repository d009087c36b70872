// What the tests of norms share: sizes and their data, layouts of lanes, the suite itself.
#pragma once

#include "bench/cases/norm.hpp"
#include "kernels/norm.hpp"
#include "tests/reference/norm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {

inline constexpr float kEps = 1e-5f;
inline constexpr std::array<kernels::NormKind, 4> kKinds{
    kernels::NormKind::kBatch, kernels::NormKind::kGroup, kernels::NormKind::kInstance,
    kernels::NormKind::kLayer};
inline constexpr std::array<const char*, 4> kKindNames{"batch", "group", "instance", "layer"};
inline constexpr std::array<kernels::NormActivation, 3> kActivations{
    kernels::NormActivation::kIdentity, kernels::NormActivation::kRelu,
    kernels::NormActivation::kReluThenAdd};
inline constexpr std::array<const char*, 3> kActivationNames{"identity", "relu", "relu_then_add"};

/// One affine; both lanes of an input that stands for both; each lane's own half of the input, with
/// an affine each or one for both.
enum class NormMode { kOne, kFork, kSplit, kHalves };
inline constexpr std::array<NormMode, 3> kModes{NormMode::kOne, NormMode::kFork, NormMode::kSplit};
inline constexpr std::array<const char*, 4> kModeNames{"one lane", "fork", "split", "halves"};

/// What the device has; what does not fit for one read is left out.
#if PASSNORM_TEST_CUDA
inline constexpr std::array kVariants{kernels::NormVariant::kTwoPass,
                                      kernels::NormVariant::kOneRead};
#else
inline constexpr std::array kVariants{kernels::NormVariant::kTwoPass};
#endif
inline const char* name_of(kernels::NormVariant variant) {
  return variant == kernels::NormVariant::kTwoPass ? "two passes" : "one read";
}

struct NormParam {
  kernels::NormKind kind;
  cases::NormCase size;
  DType dtype;
};
inline std::vector<NormParam> norm_params(const std::vector<cases::NormCase>& sizes) {
  std::vector<NormParam> all;
  for (kernels::NormKind kind : kKinds)
    for (const cases::NormCase& size : sizes)
      for (DType dtype : kStorage) all.push_back({kind, size, dtype});
  return all;
}
inline void PrintTo(const NormParam& p, std::ostream* out) {
  *out << kKindNames[static_cast<size_t>(p.kind)] << "_" << p.size.name << "_" << name_of(p.dtype);
}

/// The arguments of one norm of a parameterised size, its oracle's description and its data.
struct NormData {
  kernels::NormGeometry geometry;
  reference::Norm norm;
  Buffer x;
  std::array<Buffer, 2> mean, rstd, scale, shift;
  bool affine;

  /// statistics_of_lane: each lane gets its own mean and rstd, which only apply and fixed
  /// statistics allow in a fork. tag: data of another tag are other data.
  NormData(const NormParam& p, NormMode mode, bool with_affine, bool statistics_of_lane = false,
           uint32_t tag = 0)
      : affine(with_affine) {
    const cases::NormCase& z = p.size;
    const int64_t parts = mode == NormMode::kSplit || mode == NormMode::kHalves ? 2 : 1;
    geometry = kernels::NormGeometry::of(p.kind, z.n, z.s, z.c, parts, z.group_channels);
    norm = {.kind = static_cast<reference::Kind>(p.kind),
            .n = z.n,
            .s = z.s,
            .c = z.c,
            .parts = parts,
            .groups = z.c / z.group_channels,
            .lanes = mode == NormMode::kOne || mode == NormMode::kHalves ? 1 : 2,
            .fork = mode == NormMode::kFork};
    for (size_t l = 0; l < 2; ++l) {
      // Apply and backward are told mean and rstd: any will do.
      std::vector<double> m = uniform(norm.sets(), tag + 40, 0, 2),
                          r = uniform(norm.sets(), tag + 41, 0.5, 2);
      for (size_t k = 0; k < m.size(); ++k) {
        if (statistics_of_lane && l == 1) m[k] += 0.25, r[k] *= 1.5;
        // the other lane's blocks are not this lane's business
        const size_t block = k / static_cast<size_t>(geometry.groups),
                     half = static_cast<size_t>(geometry.blocks) / 2;
        if (mode == NormMode::kSplit && (block >= half) != (l == 1)) m[k] = r[k] = std::nan("");
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
inline std::vector<int64_t> residual_sizes(const reference::Norm& norm) {
  std::vector<int64_t> sizes{0, norm.y_size()};
  if (norm.lanes == 2) sizes.push_back(norm.y_size() / 2);
  return sizes;
}

class Norm : public testing::TestWithParam<NormParam> {
 protected:
  DType dtype() const { return GetParam().dtype; }
};

/// Of sizes that grids of a GPU walk over in several ways.
using NormWalk = Norm;

/// measured_var: an empty buffer, or the variances too.
inline void expect_statistics(const NormData& d, const Buffer& x, const Buffer& measured_mean,
                              const Buffer& measured_rstd, const Buffer& measured_var) {
  const reference::Statistics r = reference::norm_statistics(d.norm, x.values());
  const double m = r.count[0];
  // Partial means are combined pair by pair: their size is rounded once per level.
  const Bound mean_bound{.terms = m + 3,
                         .roundings = 2 + static_cast<int>(std::ceil(std::log2(m)))};
  const Bound var_bound{.terms = m + 4};
  reference::Sums mean(d.norm.sets()), var(d.norm.sets()), rstd(d.norm.sets());
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

/// A norm and that of its residual: lanes of the residual as wide as y's, or half of them.
struct Added {
  NormMode mode, residual;
};
inline constexpr std::array<Added, 10> kAdded{{{NormMode::kOne, NormMode::kOne},
                                               {NormMode::kFork, NormMode::kOne},
                                               {NormMode::kFork, NormMode::kFork},
                                               {NormMode::kFork, NormMode::kSplit},
                                               {NormMode::kFork, NormMode::kHalves},
                                               {NormMode::kSplit, NormMode::kOne},
                                               {NormMode::kSplit, NormMode::kFork},
                                               {NormMode::kSplit, NormMode::kSplit},
                                               {NormMode::kHalves, NormMode::kFork},
                                               {NormMode::kHalves, NormMode::kSplit}}};

/// The residual's data for a norm of a parameterised size.
inline NormData data_of_residual(NormParam p, const Added& added, bool affine,
                                 bool statistics_of_lane) {
  const bool lanes_of_rows =
      added.residual == NormMode::kSplit || added.residual == NormMode::kHalves;
  if (added.mode == NormMode::kFork && lanes_of_rows) p.size.n *= 2;
  if (added.mode != NormMode::kFork && added.mode != NormMode::kOne && !lanes_of_rows)
    p.size.n /= 2;
  return NormData(p, added.residual, affine, statistics_of_lane, 500);
}

inline kernels::NormApply apply_to_both(const NormData& d, const NormData& r,
                                        kernels::NormActivation activation, View y) {
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

}  // namespace passnorm::test
