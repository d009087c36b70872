// cuBLASLt behind a CUDA stream: products of row-major matrices.
#pragma once

#include <cublasLt.h>

#include <map>
#include <memory>
#include <string>

#include "kernels/runtime/cuda_stream.hpp"
#include "kernels/runtime/dtype.hpp"

namespace passnorm::kernels {

/// y = op(a) op(b) + beta y, or y = op(a) op(b) + bias, or relu of it. Sums of products are f32, of
/// f32 factors without rounding them (no TF32), in an order that depends on the sizes alone.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  DType type = DType::kF32;    ///< of a and b
  DType result = DType::kF32;  ///< of y and the bias
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  ///< beta = 1, else 0
  bool bias = false;
  bool relu = false;

  std::string name() const;  ///< for messages
  bool operator<(const Product& other) const;
};

struct ProductOperands {
  const void* a;     ///< [M, K], or [K, M] when transpose_a
  const void* b;     ///< [K, N], or [N, K] when transpose_b
  const void* bias;  ///< [N], where the product has one
  void* y;           ///< [M, N]
};

class CublasLt {
 public:
  /// Opens the library: Error(kMachine) where that fails.
  explicit CublasLt(CudaStream& stream);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  /// Error(kMachine) where the library cannot do it.
  void multiply(const Product& product, const ProductOperands& operands);

 private:
  struct Plan;
  const Plan& plan(const Product& product, uint32_t alignment);

  CudaStream& stream_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<std::pair<Product, uint32_t>, std::unique_ptr<Plan>> plans_;
};

}  // namespace passnorm::kernels
