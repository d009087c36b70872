// The one normalisation module: statistics, then a scale and shift per branch. An ordinary layer is
// one whose branches share everything.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "engine/nn/parameter.hpp"
#include "engine/ops/ops.hpp"
#include "engine/passport/pass.hpp"
#include "engine/passport/scheme.hpp"
#include "kernels/norm.hpp"

namespace passnorm {

/// Scale and shift [C]; without a value 1 and 0.
struct Affine {
  Var scale;
  Var shift;
};

/// Where a branch's scale and shift come from. Open: attacks bring their own.
class AffineSource {
 public:
  virtual ~AffineSource() = default;
  virtual Affine affine(const Pass& pass) const = 0;
};

/// No affine (plain instance norm).
class UnitAffine final : public AffineSource {
 public:
  Affine affine(const Pass&) const override { return {}; }
};

/// Two parameters.
class LearnedAffine final : public AffineSource {
 public:
  LearnedAffine(const Parameter& scale, const Parameter& shift) : scale_(&scale), shift_(&shift) {}
  Affine affine(const Pass&) const override { return {scale_->var, shift_->var}; }

 private:
  const Parameter *scale_, *shift_;
};

/// The site's part of what the passport gives, gated or not.
class PassportAffine final : public AffineSource {
 public:
  PassportAffine(int64_t offset, int64_t channels) : offset_(offset), channels_(channels) {}
  Affine affine(const Pass& pass) const override;

 private:
  int64_t offset_, channels_;
};

struct NormSpec {
  kernels::NormKind kind = kernels::NormKind::kBatch;
  bool normalise = true;  ///< false: scale and shift alone, whatever the kind
  int64_t channels = 0;
  int64_t group_channels = 16;
  float eps = 1e-5f;
  float momentum = 0.1f;

  bool keeps_statistics() const { return normalise && kind == kernels::NormKind::kBatch; }
  /// Whether an ordinary layer may be without scale and shift.
  bool affine_is_optional() const { return !normalise || kind == kernels::NormKind::kInstance; }
};

/// What follows the affine.
struct Epilogue {
  kernels::NormActivation activation = kernels::NormActivation::kRelu;
  ops::Residual residual = {};               ///< without a value: none
  std::optional<ops::PoolWindow> pool = {};  ///< a maximum at the end, not after a residual
};

class PassportNorm {
 public:
  /// An ordinary layer: parameters `name`.bn.weight and .bias unless learned is false.
  static PassportNorm ordinary(ParameterSet& set, const std::string& name, const NormSpec& spec,
                               bool learned);
  /// An ordinary layer whose branches share nothing but what the statistics are taken of: batch
  /// norms `name`.bn0 (public) and .bn1, each with parameters of its own.
  static PassportNorm per_lane(ParameterSet& set, const std::string& name, const NormSpec& spec);
  /// At a passport site: `name`.scale and .bias where the scheme has a public lane, the gate's
  /// `name`.fc.{0,2}.weight, running statistics per lane or shared. offset: of the site's [2, C] in
  /// Pass::used.
  static PassportNorm at_site(ParameterSet& set, const std::string& name, const NormSpec& spec,
                              const Scheme& scheme, int64_t offset);

  /// Lanes of the result: those of x, or split where the branches part here. sums: of x, where
  /// measures_one_block and ops::convolution gave them.
  Var forward(Pass& pass, const Var& x, const Epilogue& epilogue, const Tensor& sums = {}) const;
  /// The norm of x, to be applied by the norm that adds it. Running statistics follow now.
  ops::Residual unapplied(Pass& pass, const Var& x, const Tensor& sums = {}) const;
  /// Whether one mean and variance per channel of all rows are what it needs of x.
  bool measures_one_block(Mode mode, const Lanes& lanes) const {
    return spec_.keeps_statistics() && mode == Mode::kTrain && lanes.parts() == 1;
  }

  /// The gate's weights at a site that has one, else null.
  const Parameter* gate_in() const { return gate_in_; }
  const Parameter* gate_out() const { return gate_out_; }
  const NormSpec& spec() const { return spec_; }

  /// Replaces a branch's source (attacks).
  void set_source(Branch branch, std::shared_ptr<AffineSource> source) {
    source_[static_cast<size_t>(branch)] = std::move(source);
  }

 private:
  /// Running statistics of batch norm.
  struct Running {
    Buffer* mean = nullptr;
    Buffer* var = nullptr;
    bool operator==(const Running&) const = default;
  };
  struct Statistics {
    Tensor mean, rstd;  ///< [B, G]
  };
  /// A norm with what its statistics still have to be taken from.
  struct Unmeasured {
    ops::Residual norm;
    std::optional<ops::NormMeasurement> measurement;  ///< empty: the statistics stand
  };

  explicit PassportNorm(const NormSpec& spec) : spec_(spec) {}
  static std::shared_ptr<AffineSource> add_affine(ParameterSet& set, const std::string& name,
                                                  const std::string& released, int64_t channels,
                                                  bool secret);
  static Running add_running(ParameterSet& set, const std::string& name,
                             const std::string& released, int64_t channels, bool secret);
  Unmeasured unmeasured(Pass& pass, const Var& x, const Tensor& sums) const;
  ops::NormMeasurement measurement(Stream& stream, const Var& x, const Tensor& sums,
                                   const kernels::NormGeometry& geometry,
                                   const Statistics& into) const;
  Statistics running(Stream& stream, const std::vector<Branch>& blocks) const;
  static Statistics tables(Stream& stream, const kernels::NormGeometry& geometry);
  static Statistics none(Stream& stream, const kernels::NormGeometry& geometry);

  NormSpec spec_;
  std::array<std::shared_ptr<AffineSource>, 2>
      source_;                      ///< by branch; null: the scheme has no such branch
  std::array<Running, 2> running_;  ///< by branch; batch norm only
  Parameter* gate_in_ = nullptr;
  Parameter* gate_out_ = nullptr;
};

}  // namespace passnorm
