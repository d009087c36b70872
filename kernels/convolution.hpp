// 2-D convolution and its gradients, channels last. A 1x1 kernel on [N, 1, L, C] is PointNet's
// shared layer.
#pragma once

#include <span>
#include <string>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// Sizes of a convolution: x [N, H, W, C], w [O, KH, KW, C], y [N, OH, OW, O]; cross-correlation,
/// zero padding.
struct ConvGeometry {
  int64_t n = 1, h = 1, w = 1, c = 1, o = 1;
  int64_t kh = 1, kw = 1, stride = 1, pad = 0;

  int64_t oh() const { return (h + 2 * pad - kh) / stride + 1; }
  int64_t ow() const { return (w + 2 * pad - kw) / stride + 1; }
  int64_t window() const { return kh * kw * c; }  ///< K, the length of one filter
  int64_t x_size() const { return n * h * w * c; }
  int64_t w_size() const { return o * window(); }
  int64_t y_size() const { return n * oh() * ow() * o; }
  /// Multiply-adds counted twice, padded taps included.
  double flops() const {
    return 2.0 * static_cast<double>(n * oh() * ow()) * static_cast<double>(o * window());
  }
  bool operator==(const ConvGeometry&) const = default;
};

/// What the functions below check first: sizes that agree. bias may be empty.
void check_convolution(const ConvGeometry& g, const ConstView& x, const ConstView& w,
                       const ConstView& bias, const ConstView& y);

/// Whether this device multiplies activations of a type as they are; the functions below may refuse
/// others with Error(kMachine).
bool convolves(CpuStream& stream, DType dtype);
bool convolves(CudaStream& stream, DType dtype);

/// Whether conv_forward may be asked for sums of a result of this type: never on the CPU; on a GPU
/// where the stream's options say so (StreamOptions::epilogue_statistics), for 16-bit types.
bool conv_may_sum(CpuStream& stream, DType dtype);
bool conv_may_sum(CudaStream& stream, DType dtype);

/// y = conv(x, w) + bias, or relu of it
struct ConvForward {
  ConvGeometry geometry;
  ConstView x;         ///< [N, H, W, C]
  ConstView w;         ///< [O, KH, KW, C]
  ConstView w_copy{};  ///< w in the type of x, where the caller keeps such a copy, or empty
  ConstView bias{};    ///< [O] or empty
  View y;              ///< [N, OH, OW, O], of x's type; of a linear layer (one position) f32 too
  bool relu = false;
  /// [2, O] of y, for the batch norm behind it (kernels/norm_sums.hpp): per channel the sum, then
  /// the sum of squares; or empty. f32, in an order of the device's own that is the same in every
  /// run, of y before or after it is rounded to its type. Without bias and relu only.
  std::span<float> sums{};
};
/// The same of a forward convolution, and of its sums.
void check_convolution(const ConvForward& a);
/// Whether sums were written: where the device has no such convolution y alone is computed.
bool conv_forward(CpuStream& stream, const ConvForward& a);
bool conv_forward(CudaStream& stream, const ConvForward& a);

/// dx = the gradient of sum(y * dy) with respect to x; overwrites.
struct ConvBackwardData {
  ConvGeometry geometry;
  ConstView dy;        ///< [N, OH, OW, O]
  ConstView w;         ///< [O, KH, KW, C]
  ConstView w_copy{};  ///< as in forward
  View dx;             ///< [N, H, W, C]
};
void conv_backward_data(CpuStream& stream, const ConvBackwardData& a);
void conv_backward_data(CudaStream& stream, const ConvBackwardData& a);

/// dw (and dbias) = the gradient with respect to the weights; overwrites, or adds.
struct ConvBackwardWeight {
  ConvGeometry geometry;
  ConstView x;              ///< [N, H, W, C]
  ConstView dy;             ///< [N, OH, OW, O]
  View dw;                  ///< [O, KH, KW, C]
  View dbias{};             ///< [O] or empty
  bool accumulate = false;  ///< add to dw and dbias
};
void conv_backward_weight(CpuStream& stream, const ConvBackwardWeight& a);
void conv_backward_weight(CudaStream& stream, const ConvBackwardWeight& a);

}  // namespace passnorm::kernels
