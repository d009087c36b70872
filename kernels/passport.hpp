// The passport's own arithmetic. Sources: Fan et al., DeepIPR (NeurIPS 2019, TPAMI 2021); Zhang et
// al., Passport-aware Normalization (NeurIPS 2020).
//
// The raw scale of a channel is the mean over positions of conv(key, W)[o]; it is linear in W, so
// with the mean window m [K] of the key (zero padding and stride included) it is g = W m: one
// matrix-vector product in place of a convolution.
#pragma once

#include <span>

#include "kernels/convolution.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// digest[kh, kw, c] = mean over output positions of the padded key at (oh * stride + kh - pad, ow
/// * stride + kw - pad, c).
struct PassportDigest {
  ConvGeometry geometry;       ///< n = 1
  std::span<const float> key;  ///< [H, W, C]
  std::span<float> digest;     ///< [KH, KW, C] = [K]
};
void passport_digest(CpuStream& stream, const PassportDigest& a);
void passport_digest(CudaStream& stream, const PassportDigest& a);

/// The adjoint: dkey from ddigest (attacks that forge keys); overwrites.
struct PassportDigestBackward {
  ConvGeometry geometry;
  std::span<const float> ddigest;  ///< [K]
  std::span<float> dkey;           ///< [H, W, C]
};
void passport_digest_backward(CpuStream& stream, const PassportDigestBackward& a);
void passport_digest_backward(CudaStream& stream, const PassportDigestBackward& a);

/// One site of the grouped products below.
struct PassportSite {
  int64_t channels = 0;         ///< O
  int64_t window = 0;           ///< K
  const float* w = nullptr;     ///< [O, K]
  const float* bias = nullptr;  ///< [O] of a linear layer, or null
  const float* m = nullptr;     ///< [2, K] digests: gamma, beta
  int64_t offset = 0;           ///< where the site's [2, O] stands in the raw vector
};

/// raw[site] = [W m_gamma (+ bias), W m_beta (+ bias)], all sites in one call.
struct PassportRead {
  std::span<const PassportSite> sites;
  std::span<float> raw;  ///< [sum 2 O]: per site scale [O], then shift [O]
};
void passport_read(CpuStream& stream, const PassportRead& a);
void passport_read(CudaStream& stream, const PassportRead& a);

/// dW += dg m_gamma^T + dh m_beta^T (rank two), dbias += dg + dh, dm = W^T [dg, dh]; all sites in
/// one call.
struct PassportReadBackward {
  std::span<const PassportSite> sites;
  std::span<const float> draw;      ///< [sum 2 O]
  std::span<float* const> dw;       ///< per site [O, K]: added to; null = not wanted
  std::span<float* const> dbias{};  ///< per site [O]: added to; null = none
  std::span<float* const>
      dm{};  ///< per site [2, K]: overwritten; an empty span or null = not wanted
};
void passport_read_backward(CpuStream& stream, const PassportReadBackward& a);
void passport_read_backward(CudaStream& stream, const PassportReadBackward& a);

/// PAN's gate, the same for scale and shift: used = A2 lrelu(A1 raw), slope 0.01, no biases. One
/// site.
struct GateSite {
  int64_t channels = 0;       ///< C
  int64_t hidden = 0;         ///< C / 4
  const float* a1 = nullptr;  ///< [hidden, C]
  const float* a2 = nullptr;  ///< [C, hidden]
  int64_t offset = 0;         ///< of the site's [2, C] in raw and used
  int64_t hidden_offset = 0;  ///< of the site's [2, hidden] in `hidden`
};
struct Gate {
  std::span<const GateSite> sites;
  std::span<const float> raw;  ///< [sum 2 C]
  std::span<float> hidden;     ///< [sum 2 hidden]: A1 raw, before the leaky ReLU; kept for backward
  std::span<float> used;       ///< [sum 2 C]
};
void gate(CpuStream& stream, const Gate& a);
void gate(CudaStream& stream, const Gate& a);

struct GateBackward {
  std::span<const GateSite> sites;
  std::span<const float> raw;     ///< [sum 2 C]
  std::span<const float> hidden;  ///< [sum 2 hidden], from the forward call
  std::span<const float> dused;   ///< [sum 2 C]
  std::span<float> draw{};        ///< [sum 2 C]: added to; empty = not wanted
  std::span<float* const> da1{};  ///< per site [hidden, C]: added to; null = not wanted
  std::span<float* const> da2{};  ///< per site [C, hidden]: added to; null = not wanted
};
void gate_backward(CpuStream& stream, const GateBackward& a);
void gate_backward(CudaStream& stream, const GateBackward& a);

/// One site of the sign loss.
struct SignSite {
  int64_t channels = 0;
  int64_t offset = 0;            ///< of the site's [2, C] in raw: the first C are the scales
  const int8_t* bits = nullptr;  ///< [C] of -1 and +1
};
/// loss[i] = alpha sum_c max(0, margin - b_c g_c) + decay sum_c g_c^2; matched[i] = how many g_c
/// b_c > 0 (0 counts as wrong).
struct SignLoss {
  std::span<const SignSite> sites;
  std::span<const float> raw;  ///< [sum 2 C]
  float alpha = 0.1f;
  float margin = 0.1f;
  float decay = 1e-5f;
  std::span<float> loss;       ///< [sites]
  std::span<int32_t> matched;  ///< [sites]
  std::span<float> draw{};     ///< [sum 2 C]: dloss/draw * weight is added; empty = not wanted
  float weight = 1;            ///< factor of the gradient
  DeviceValue<float> loss_scale = 1.0f;  ///< another
};
void sign_loss(CpuStream& stream, const SignLoss& a);
void sign_loss(CudaStream& stream, const SignLoss& a);

}  // namespace passnorm::kernels
