// Normalisation with a scale and shift per lane: statistics, apply, backward. Every kind of norm is
// a geometry.
//
//   xhat = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps),  u_l = scale_l * xhat + shift_l
//   y_l  = u_l | relu(u_l) | relu(u_l + residual) | relu(u_l) + residual
// The residual is a tensor as it is, or one to which a norm of its own is applied as it is read.
//
// Lanes. Rows of x may stand for one branch or for both (public rows first). When the affine or the
// statistics of two lanes differ and x stands for both still equal ("shared"), apply reads x once
// and writes two results: a fork.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

enum class NormKind { kBatch, kGroup, kInstance, kLayer };

/// x [rows, C] seen as `blocks` blocks of `rows` rows each; statistics over one block and one group
/// of channels. The only code that knows what batch, group, instance and layer mean is
/// NormGeometry::of.
struct NormGeometry {
  int64_t blocks = 1;    ///< B: lanes of x for batch norm, samples of x for the others
  int64_t rows = 1;      ///< R: rows of a block
  int64_t channels = 1;  ///< C
  int64_t groups = 1;    ///< G: statistics per block; C / G neighbouring channels share one

  /// n: samples of x, all lanes; s: positions of a sample; lanes: how many lanes the rows of x
  /// stand for separately. group_channels: kGroup has floor(c / group_channels) groups
  /// (16 in both papers), which must divide c.
  static NormGeometry of(NormKind kind, int64_t n, int64_t s, int64_t c, int64_t lanes,
                         int64_t group_channels = 16);

  int64_t x_size() const { return blocks * rows * channels; }
  int64_t statistics() const { return blocks * groups; }
  int64_t group_size() const {
    return rows * (channels / groups);
  }  ///< M: elements behind one mean
  bool operator==(const NormGeometry&) const = default;
};

/// Biased mean and reciprocal standard deviation; shifted sums, combined in a fixed order.
struct NormStatistics {
  NormGeometry geometry;
  ConstView x;             ///< [B, R, C] f32 | bf16 | f16
  std::span<float> mean;   ///< [B, G]
  std::span<float> rstd;   ///< [B, G]
  std::span<float> var{};  ///< [B, G] biased variance, or empty
  float eps = 1e-5f;
  std::span<const float> sums{};  ///< of x, where its convolution took them (kernels/norm_sums.hpp)
};
void norm_statistics(CpuStream& stream, const NormStatistics& a);
void norm_statistics(CudaStream& stream, const NormStatistics& a);

/// running = (1 - momentum) running + momentum * batch; the variance with M / (M - 1) (unbiased; M
/// = 1 counts as biased).
struct NormUpdateRunning {
  int64_t channels = 0;
  int64_t count = 0;              ///< M: elements behind each batch statistic
  std::span<const float> mean;    ///< [C] of the batch
  std::span<const float> var;     ///< [C] of the batch, biased
  std::span<float> running_mean;  ///< [C]
  std::span<float> running_var;   ///< [C]
  float momentum = 0.1f;
};
void norm_update_running(CpuStream& stream, const NormUpdateRunning& a);
void norm_update_running(CudaStream& stream, const NormUpdateRunning& a);

/// rstd of a running variance.
struct NormRstd {
  std::span<const float> var;  ///< [C]
  std::span<float> rstd;       ///< [C]
  float eps = 1e-5f;
};
void norm_rstd(CpuStream& stream, const NormRstd& a);
void norm_rstd(CudaStream& stream, const NormRstd& a);

/// What follows the affine.
enum class NormActivation {
  kIdentity,     ///< u + residual (residual optional)
  kRelu,         ///< relu(u + residual) (residual optional): the standard block
  kReluThenAdd,  ///< relu(u) + residual: the references' blocks (spec: residual_relu)
};

/// One lane's statistics and affine. Empty scale and shift: 1 and 0. The statistics are tables over
/// all B blocks of x, also where a lane covers only half of them (lanes = 2, no fork: then both
/// lanes usually point to one table).
struct NormLane {
  std::span<const float> mean;     ///< [B, G]
  std::span<const float> rstd;     ///< [B, G]
  std::span<const float> scale{};  ///< [C]
  std::span<const float> shift{};  ///< [C]
};

/// How the rows of x, y and lanes belong together.
///   lanes = 1: one affine for all rows (one branch, or both branches with the same affine).
///   lanes = 2, fork: x holds [B R] rows, y twice as many: public rows first.
///   lanes = 2, no fork: the first half of x's blocks is public, the second half passport.
/// In a fork both lanes must have the same mean and rstd when a backward follows (they come from
/// the same rows).
struct NormApply {
  NormGeometry geometry;  ///< of x
  int lanes = 1;
  bool fork = false;
  NormActivation activation = NormActivation::kIdentity;
  ConstView x;  ///< [B, R, C]
  ConstView
      residual{};  ///< empty, or as many rows as y, or half (then both lanes read the same rows)
  /// The residual's own norm, by the rows of y: [0] for the first half, [1] for the second; without
  /// [1], [0] for all; without both the residual is added as it is. The tables are [B', G], where
  /// the residual has B' blocks of R rows.
  std::array<NormLane, 2> residual_lane{};
  std::array<NormLane, 2> lane{};
  View y;  ///< [B, R, C], in a fork [2, B, R, C]

  bool normalises_residual() const { return !residual_lane[0].mean.empty(); }
};
void norm_apply(CpuStream& stream, const NormApply& a);
void norm_apply(CudaStream& stream, const NormApply& a);

/// How often a norm reads its tensors.
enum class NormVariant {
  kTwoPass,  ///< for the sums, and again for the result: any size
  kOneRead,  ///< once: the chip keeps them until the sums are known. GPUs, and what fits there
};

/// Training forward: the statistics of x, the running averages that follow them, apply.
struct NormForward {
  NormStatistics statistics;
  /// Of blocks of these statistics, one after the other; without channels: none.
  std::array<NormUpdateRunning, 2> running{};
  NormApply apply;  ///< of the same x; its lanes' mean and rstd are the statistics'
  std::optional<NormVariant> variant{};  ///< empty: as norm_variant says
};
void norm_forward(CpuStream& stream, const NormForward& a);
void norm_forward(CudaStream& stream, const NormForward& a);

/// Gradients of NormApply. g_l = dy_l where the activation lets through, else 0.
///   dscale_l = sum g_l xhat,  dshift_l = sum g_l
///   dx = sum_l rstd (scale_l g_l) - rstd (S1 + xhat S2) / M,  S1 = sum_l sum scale_l g_l,  S2 =
///   sum_l sum scale_l g_l xhat
/// With fixed statistics (evaluation mode) the S terms are absent.
struct NormBackward {
  NormGeometry geometry;  ///< of x
  int lanes = 1;
  bool fork = false;
  NormActivation activation = NormActivation::kIdentity;
  bool fixed_statistics = false;
  ConstView x;    ///< as in apply
  ConstView y{};  ///< result of apply; needed for kRelu with a residual only
  bool has_residual = false;
  ConstView dy;                              ///< as y
  std::array<NormLane, 2> lane{};            ///< as in apply
  std::array<std::span<float>, 2> dscale{};  ///< [C] each, or empty
  std::array<std::span<float>, 2> dshift{};  ///< [C] each, or empty
  bool accumulate_affine = false;            ///< add to dscale and dshift
  View dx{};                                 ///< as x, or empty
  bool accumulate_dx = false;                ///< add to dx
  View dresidual{};  ///< as residual in apply, or empty: g (kRelu, kIdentity) or dy (kReluThenAdd);
                     ///< a residual of half the rows gets the sum of the lanes
  bool accumulate_dresidual = false;     ///< add to dresidual
  std::optional<NormVariant> variant{};  ///< empty: as norm_variant says
};
void norm_backward(CpuStream& stream, const NormBackward& a);
void norm_backward(CudaStream& stream, const NormBackward& a);

/// Whether kOneRead can compute it. On the CPU never.
inline bool fits_one_read(const CpuStream&, const NormForward&) { return false; }
inline bool fits_one_read(const CpuStream&, const NormBackward&) { return false; }
bool fits_one_read(const CudaStream& stream, const NormForward& a);
bool fits_one_read(const CudaStream& stream, const NormBackward& a);

/// What is run. fits: whether kOneRead can compute it, by geometry, type and device; Error(kBug)
/// where that is wanted and cannot be.
NormVariant norm_variant(std::optional<NormVariant> wanted, bool fits);

/// kTwoPass of a checked NormForward.
template <class AnyStream>
void norm_forward_in_two_passes(AnyStream& stream, const NormForward& a) {
  norm_statistics(stream, a.statistics);
  for (const NormUpdateRunning& running : a.running)
    if (running.channels > 0) norm_update_running(stream, running);
  norm_apply(stream, a.apply);
}

/// Error(kBug) unless sizes fit; the functions above call these first.
void check(const NormStatistics& a);
void check(const NormUpdateRunning& a);
void check(const NormRstd& a);
void check(const NormApply& a);
void check(const NormForward& a);
void check(const NormBackward& a);

}  // namespace passnorm::kernels
