// Statistics of a batch norm from the sums that a convolution took of its result
// (ConvForward::sums): x need not be read for them.
#pragma once

#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// norm_statistics of one block, B = 1 and G = C, with sums [2, C]: s1 of x, then s2 of its
/// squares. mean = s1 / R, var = s2 / R - mean^2 of channels with mean^2 <= kMostCondition var; the
/// others, where the difference would cancel, are measured in x by two passes.
///
/// f32 sums of n terms one after the other are off by e = sqrt(n) 2^-24 of the sums of their terms'
/// magnitudes when roundings have random signs (Higham and Mary, SIAM J. Sci. Comput. 41, 2019), so
/// var by e (s2 / R + 2 |mean| sum|x| / R) <= 3 e (var + mean^2), and by less than 6 2^-24 (var +
/// mean^2) of the formula's own roundings. A convolution sums tiles of 64 rows or more before it
/// sums the tiles: n <= 2^14 up to 2^20 rows. With mean^2 <= 16 var that is 3 * 17 * 2^-17 < 2^-11
/// of var, the unit roundoff of f16: enough for x in 16 bits, and too little for f32. Where sums
/// were taken of x before it was rounded to 16 bits, they give the mean and variance of that.
void norm_statistics_from_sums(CpuStream& stream, const NormStatistics& a);
void norm_statistics_from_sums(CudaStream& stream, const NormStatistics& a);

inline constexpr float kMostCondition = 16;

/// Error(kBug) unless sizes fit; the functions above call this first.
void check_sums(const NormStatistics& a);

}  // namespace passnorm::kernels
