// Elementwise work on flat memory.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y = value
struct Fill {
  View y;  ///< [n] f32 | bf16 | f16
  float value = 0;
};
void fill(CpuStream& stream, const Fill& a);
void fill(CudaStream& stream, const Fill& a);

/// y = x, converted to y's type (f32 | bf16 | f16 both ways; round to nearest even).
struct Cast {
  ConstView x;  ///< [n]
  View y;       ///< [n]
};
void cast(CpuStream& stream, const Cast& a);
void cast(CudaStream& stream, const Cast& a);

/// y += alpha x
struct AddTo {
  ConstView x;  ///< [n]
  View y;       ///< [n], the type of x
  float alpha = 1;
};
void add_to(CpuStream& stream, const AddTo& a);
void add_to(CudaStream& stream, const AddTo& a);

/// y = relu(a + b) or a + b; a or b may have half of y's elements: then both halves of y read the
/// same (lanes).
struct Add {
  ConstView a;  ///< [n] or [n / 2]
  ConstView b;  ///< [n] or [n / 2]
  View y;       ///< [n]
  bool relu = false;
};
void add(CpuStream& stream, const Add& a);
void add(CudaStream& stream, const Add& a);

/// y = x + the identity matrix, for each of the J x J matrices of x.
struct AddIdentity {
  int64_t size = 0;  ///< J
  ConstView x;       ///< [n, J, J]
  View y;            ///< [n, J, J], the type of x
};
void add_identity(CpuStream& stream, const AddIdentity& a);
void add_identity(CudaStream& stream, const AddIdentity& a);

/// dx = dy where y > 0 (y a result of relu), else 0; dx may have half of dy's elements: then it
/// gets the sum of both halves. y empty: everything passes.
struct ReluBackward {
  ConstView y{};            ///< [n], or empty
  ConstView dy;             ///< [n]
  View dx;                  ///< [n] or [n / 2]
  bool accumulate = false;  ///< add to dx
};
void relu_backward(CpuStream& stream, const ReluBackward& a);
void relu_backward(CudaStream& stream, const ReluBackward& a);

}  // namespace passnorm::kernels
