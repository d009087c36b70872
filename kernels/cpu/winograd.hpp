// Winograd's convolution F(4x4, 3x3): a quarter of the multiplications of the direct 3x3 one.
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
//
//   forward          Y  = A^T [sum_c (G g_c G^T) * (B^T d_c B)] A, for every 4x4 tile of outputs
//   backward data    the same with the filters turned by 180 degrees and dy in x's place
//   backward weight  dg = G^T [sum_tiles (B^T d B) * (A dy A^T)] G
//
// on the points 0, +-5/8, +-3/2, infinity, whose rounding grows least; in f32, error about 1e-6 of
// the largest term. The sums are 36 matrix products, computed on tiles that stay in a core's cache:
// activations are read and written once, channels last, and nothing is reordered.
#pragma once

#include "kernels/convolution.hpp"

namespace passnorm::kernels {

/// Whether it computes this convolution in all three directions, and is faster than the direct one:
/// measured, README.
bool winograd_pays(const ConvGeometry& geometry);

/// The contracts of kernels/convolution.hpp for a geometry that pays: activations of any one type,
/// weights and bias f32, no dbias. Results do not depend on the number of threads.
void winograd_forward(CpuStream& stream, const ConvForward& a);
void winograd_backward_data(CpuStream& stream, const ConvBackwardData& a);
void winograd_backward_weight(CpuStream& stream, const ConvBackwardWeight& a);

}  // namespace passnorm::kernels
