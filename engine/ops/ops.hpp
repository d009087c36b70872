// Differentiable operations. Each is one function: compute, then record the closure of its
// gradient; a loss writes it at once. Layout [N, H, W, C] or [N, C]; lanes of a result are those of
// its inputs, except where said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/autograd/tape.hpp"
#include "kernels/norm.hpp"
#include "kernels/orthogonality.hpp"
#include "kernels/passport.hpp"
#include "kernels/pooling.hpp"

namespace passnorm::ops {

/// Cross-correlation of x [N, H, W, C] with w [O, KH, KW, C], plus bias [O] when it has a value;
/// or relu of it. Of a type that the device does not convolve, x is computed in f32 and the result
/// stored in x's type; of one that it does, a copy of w in that type is used where w has one.
/// sums: becomes [2, O] of the result, for the norm behind it (kernels::ConvForward::sums), where
/// the device gives them, else stays as it is; null: none are asked for. layer: its name, in front
/// of what the machine cannot do (Error kMachine) and of the stream's notes, forward and backward.
Var convolution(Tape& tape, const Var& x, const Var& w, const Var& bias, int64_t stride,
                int64_t pad, bool relu = false, Tensor* sums = nullptr,
                const std::string& layer = {});

/// x as a tensor of another floating type; its gradient has x's.
Var cast(Tape& tape, const Var& x, DType dtype);

/// x w^T + bias: x [N, I], w [O, I], bias [O] when it has a value. The result is f32 whatever x is:
/// logits are. Of a 16-bit type that the device convolves, w and the result's gradient are rounded
/// to it, as in convolution, and sums are f32; of another, x is computed in f32. layer: as there.
Var linear(Tape& tape, const Var& x, const Var& w, const Var& bias, const std::string& layer = {});

/// One lane of `norm`: statistics and affine; a scale or shift without a value is 1 or 0.
struct NormLane {
  Tensor mean;  ///< [B, G]
  Tensor rstd;  ///< [B, G]
  Var scale;    ///< [C]
  Var shift;    ///< [C]
};

struct NormOptions {
  kernels::NormGeometry geometry;  ///< of x
  kernels::NormActivation activation = kernels::NormActivation::kIdentity;
  bool fork = false;              ///< x is shared, the result split
  bool fixed_statistics = false;  ///< the statistics do not depend on x
};

/// What `norm` adds: nothing (x has no value), x as it is (no lanes), or the norm of x, which is
/// applied as x is read and never stored.
struct Residual {
  Var x;
  std::vector<NormLane> lanes = {};  ///< as in `norm`, with its options
  NormOptions options = {};          ///< of the same rows of a block and groups as what it is added
                                     ///< to; without activation

  Residual() = default;
  Residual(const Var& as_it_is) : x(as_it_is) {}
  Residual(const Var& of, std::vector<NormLane> norm, const NormOptions& how)
      : x(of), lanes(std::move(norm)), options(how) {}
};

/// Statistics of x still to be taken: into the tables of its norm's lanes, and running averages
/// after them.
struct NormMeasurement {
  kernels::NormStatistics statistics;
  std::array<kernels::NormUpdateRunning, 2> running{};
  Tensor var = {};  ///< where the variance goes that the averages read
};
void measure(Stream& stream, const std::optional<NormMeasurement>& measurement);

/// Normalise, affine per lane, residual, activation (kernels/norm.hpp). lanes: one, or two where
/// they differ. Shared operands serve both lanes. measurement: what has to be measured first.
Var norm(Tape& tape, const Var& x, const Residual& residual, const std::vector<NormLane>& lanes,
         const NormOptions& options, const std::optional<NormMeasurement>& measurement = {});

/// a + b, or relu(a + b); a shared operand is broadcast to a split one.
Var add(Tape& tape, const Var& a, const Var& b, bool relu);

struct PoolWindow {
  int64_t size = 2;
  int64_t stride = 2;
  int64_t pad = 0;

  /// Over x [N, H, W, C].
  kernels::PoolGeometry over(const Shape& x) const;
};

Var max_pool(Tape& tape, const Var& x, const PoolWindow& window);

/// max_pool of norm (no residual; kIdentity or kRelu), to the bit, in one pass: the result of norm
/// is neither written nor kept for backward (kernels/norm_pool.hpp).
Var norm_pool(Tape& tape, const Var& x, const std::vector<NormLane>& lanes,
              const NormOptions& options, const PoolWindow& window);

/// [N, H, W, C] -> [N, C]
Var global_mean_pool(Tape& tape, const Var& x);
Var global_max_pool(Tape& tape, const Var& x);

/// y[n] = x[n] t[n]: x [N, 1, L, I], t [N, I * J] or [N, I, J] in f32, y [N, 1, L, J]; I and J at
/// most 64. A shared operand is broadcast to a split one.
Var batched_matmul(Tape& tape, const Var& x, const Var& t);

/// x + the identity, for each J x J matrix of x [N, J * J] or [N, J, J].
Var add_identity(Tape& tape, const Var& x);

struct Dropout {
  float probability = 0;  ///< that an element is 0; 0 (evaluation): the result is x itself
  uint64_t seed = 0;
  DeviceValue<uint32_t> step = 0u;  ///< number of the training step: each has its own mask
  uint32_t layer = 0;               ///< number of this dropout in its network
};
/// x / (1 - probability) where kept, else 0 (kernels/dropout.hpp). Both lanes have one mask, which
/// is also that of either lane alone.
Var dropout(Tape& tape, const Var& x, const Dropout& options);

/// Losses stay on the device until they are read. One entry per lane the logits stand for, public
/// first; logits of shared lanes count for both, with one entry.
struct LaneLosses {
  Tensor loss;  ///< [lanes] mean over rows, f32
  Tensor hits;  ///< [lanes] rows whose largest logit is the label, i32
};

/// Softmax cross-entropy of logits [lanes N, K] against labels [N] (i32), averaged in each lane and
/// summed over lanes. to: where the results are written; empty: new memory.
LaneLosses cross_entropy(Tape& tape, const Var& logits, const Tensor& labels, float smoothing = 0,
                         const LaneLosses& to = {});

struct OrthogonalityOptions {
  kernels::OrthogonalityForm form = kernels::OrthogonalityForm::kGram;
  float alpha = 1e-3f;
};
/// alpha times the mean distance of the transforms t [lanes N, J * J] or [lanes N, J, J] from
/// orthogonal ones (kernels/orthogonality.hpp), J at most 64. Result [lanes] and `to` as in
/// cross_entropy.
Tensor orthogonality_loss(Tape& tape, const Var& t, const OrthogonalityOptions& options,
                          const Tensor& to = {});

/// Digests [2, K] of keys that are learned, [2, H, W, C]: of the scale key, of the shift key
/// (kernels/passport.hpp). geometry: of the site, n = 1.
Var passport_digest(Tape& tape, const Var& keys, const kernels::ConvGeometry& geometry);

/// One site of passport_read: its weight, the bias of a linear layer, and the digests.
struct ReadSite {
  Var weight;  ///< [O, ...] with K = elements per output
  Var bias;    ///< [O] or without a value
  Var digest;  ///< [2, K]: of the scale key, of the shift key; with a gradient where keys are
               ///< learned
};

/// Raw scale and shift of all sites: W m (kernels/passport.hpp). Result [sum 2 O]: per site scale,
/// then shift.
Var passport_read(Tape& tape, const std::vector<ReadSite>& sites);

/// PAN's gate A2 lrelu(A1 v) on each site's raw scale and shift; a site without gate weights passes
/// unchanged.
struct GateSite {
  int64_t channels = 0;
  Var a1;  ///< [C / 4, C] or without a value
  Var a2;  ///< [C, C / 4]
};
Var gate(Tape& tape, const Var& raw, const std::vector<GateSite>& sites);

/// A part of x that shares its memory; gradients go straight to that part.
Var slice(Tape& tape, const Var& x, int64_t offset, const Shape& shape);

struct SignLossOptions {
  float alpha = 0.1f;
  float margin = 0.1f;
  float decay = 1e-5f;
};
struct SignLosses {
  Tensor loss;     ///< [sites] f32
  Tensor matched;  ///< [sites] i32: scales whose sign is the bit's
};
/// The hinge that pushes raw scales to the signs of the bits. channels: C of each site; bits [sum
/// C] of -1 and +1 (i8). to: as in cross_entropy.
SignLosses sign_loss(Tape& tape, const Var& raw, const std::vector<int64_t>& channels,
                     const Tensor& bits, const SignLossOptions& options, const SignLosses& to = {});

}  // namespace passnorm::ops
