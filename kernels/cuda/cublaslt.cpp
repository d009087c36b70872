#include "kernels/cuda/cublaslt.hpp"

#include <algorithm>
#include <tuple>

#include "kernels/cuda/check.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/workspace.hpp"

namespace passnorm {
namespace {

/// The functions used, by their own names.
struct Functions {
  Library library{Library::kCublasLt};
#define PASSNORM_FUNCTION(name) decltype(&::name) name = library.function<decltype(::name)>(#name)
  PASSNORM_FUNCTION(cublasLtCreate);
  PASSNORM_FUNCTION(cublasLtDestroy);
  PASSNORM_FUNCTION(cublasLtGetVersion);
  PASSNORM_FUNCTION(cublasLtGetStatusString);
  PASSNORM_FUNCTION(cublasLtMatmul);
  PASSNORM_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
  PASSNORM_FUNCTION(cublasLtMatmulDescCreate);
  PASSNORM_FUNCTION(cublasLtMatmulDescDestroy);
  PASSNORM_FUNCTION(cublasLtMatmulDescSetAttribute);
  PASSNORM_FUNCTION(cublasLtMatmulPreferenceCreate);
  PASSNORM_FUNCTION(cublasLtMatmulPreferenceDestroy);
  PASSNORM_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  PASSNORM_FUNCTION(cublasLtMatrixLayoutCreate);
  PASSNORM_FUNCTION(cublasLtMatrixLayoutDestroy);
#undef PASSNORM_FUNCTION
};

const Functions& lt() {
  static const Functions& functions = *new Functions;  // streams may end after it would
  return functions;
}

std::string version_name() {
  const size_t v = lt().cublasLtGetVersion();
  return concat("cuBLASLt ", v / 10000, ".", v / 100 % 100, ".", v % 100);
}

}  // namespace

static void check_call(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  const Fault fault = status == CUBLAS_STATUS_ALLOC_FAILED    ? Fault::kMemory
                      : status == CUBLAS_STATUS_INVALID_VALUE ? Fault::kBug
                                                              : Fault::kMachine;
  fail(fault, file, ":", line, ": ", call, ": ", version_name(), ": ",
       lt().cublasLtGetStatusString(status));
}

namespace kernels {
namespace {

/// What Hopper's kernels want at most (NVIDIA's recommendation).
constexpr uint64_t kMaxWorkspace = uint64_t{32} << 20;

cudaDataType_t type_of(DType type) {
  switch (type) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF16:
      return CUDA_R_16F;
    default:
      fail(Fault::kBug, "a matrix product in ", name_of(type));
  }
}

/// One of the library's descriptors.
template <class T>
class Descriptor {
 public:
  using Destroy = cublasStatus_t (*)(T);
  explicit Descriptor(Destroy destroy) : destroy_(destroy) {}
  ~Descriptor() { destroy_(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  T* make() { return &value_; }
  operator T() const { return value_; }  // NOLINT: it is one

 private:
  T value_ = nullptr;
  Destroy destroy_;
};

/// The largest power of two up to 16 that divides all addresses; null is divided by all.
uint32_t common_alignment(std::initializer_list<const void*> addresses) {
  std::uintptr_t bits = 16;
  for (const void* p : addresses) bits |= reinterpret_cast<std::uintptr_t>(p);
  return static_cast<uint32_t>(bits & -bits);
}

}  // namespace

struct CublasLt::Plan {
  Descriptor<cublasLtMatmulDesc_t> operation{lt().cublasLtMatmulDescDestroy};
  Descriptor<cublasLtMatrixLayout_t> a{lt().cublasLtMatrixLayoutDestroy},
      b{lt().cublasLtMatrixLayoutDestroy}, y{lt().cublasLtMatrixLayoutDestroy};
  cublasLtMatmulHeuristicResult_t chosen{};
};

std::string Product::name() const {
  return concat("matrix product [", m, ",", k, "]", transpose_a ? "'" : "", " [", k, ",", n, "]",
                transpose_b ? "'" : "", ", ", name_of(type), " to ", name_of(result),
                bias ? ", bias" : "", relu ? ", relu" : "", accumulate ? ", added" : "");
}

bool Product::operator<(const Product& o) const {
  const auto key = [](const Product& p) {
    return std::tie(p.m, p.n, p.k, p.type, p.result, p.transpose_a, p.transpose_b, p.accumulate,
                    p.bias, p.relu);
  };
  return key(*this) < key(o);
}

CublasLt::CublasLt(CudaStream& stream) : stream_(stream) {
  PASSNORM_CALL(lt().cublasLtCreate(&handle_));
}

CublasLt::~CublasLt() {
  plans_.clear();
  lt().cublasLtDestroy(handle_);
}

const CublasLt::Plan& CublasLt::plan(const Product& p, uint32_t alignment) {
  std::unique_ptr<Plan>& found = plans_[{p, alignment}];
  if (found) return *found;
  auto plan = std::make_unique<Plan>();
  // The library's matrices are column-major: it is told of y' = op(b)' op(a)', and a row-major
  // matrix is its own transpose.
  PASSNORM_CALL(
      lt().cublasLtMatmulDescCreate(plan->operation.make(), CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    PASSNORM_CALL(
        lt().cublasLtMatmulDescSetAttribute(plan->operation, attribute, &value, sizeof value));
  };
  const auto transposed = [](bool yes) {
    return static_cast<int32_t>(yes ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, transposed(p.transpose_b));
  set(CUBLASLT_MATMUL_DESC_TRANSB, transposed(p.transpose_a));
  if (p.bias || p.relu)
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(!p.relu  ? CUBLASLT_EPILOGUE_BIAS
                                                             : p.bias ? CUBLASLT_EPILOGUE_RELU_BIAS
                                                                      : CUBLASLT_EPILOGUE_RELU));
  if (p.bias) set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type_of(p.result)));
  const auto layout = [](Descriptor<cublasLtMatrixLayout_t>& of, DType type, int64_t rows,
                         int64_t columns) {
    PASSNORM_CALL(lt().cublasLtMatrixLayoutCreate(of.make(), type_of(type),
                                                  static_cast<uint64_t>(rows),
                                                  static_cast<uint64_t>(columns), rows));
  };
  layout(plan->b, p.type, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k);
  layout(plan->a, p.type, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m);
  layout(plan->y, p.result, p.n, p.m);

  Descriptor<cublasLtMatmulPreference_t> preference{lt().cublasLtMatmulPreferenceDestroy};
  PASSNORM_CALL(lt().cublasLtMatmulPreferenceCreate(preference.make()));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    PASSNORM_CALL(
        lt().cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMaxWorkspace);
  // Parts of long sums may be added in f32, in a fixed order; not in 16 bits, nor in place.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(attribute, alignment);
  int count = 0;
  const cublasStatus_t status =
      lt().cublasLtMatmulAlgoGetHeuristic(handle_, plan->operation, plan->b, plan->a, plan->y,
                                          plan->y, preference, 1, &plan->chosen, &count);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0)
    fail(Fault::kMachine, p.name(), ": ", version_name(), " in ", lt().library.file(),
         " offers no kernel: ", lt().cublasLtGetStatusString(status));
  found = std::move(plan);
  return *found;
}

void CublasLt::multiply(const Product& p, const ProductOperands& o) {
  const Plan& chosen = plan(p, common_alignment({o.a, o.b, o.bias, o.y}));
  if (p.bias)
    PASSNORM_CALL(lt().cublasLtMatmulDescSetAttribute(
        chosen.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &o.bias, sizeof o.bias));
  const Workspace workspace(stream_, static_cast<int64_t>(chosen.chosen.workspaceSize));
  const float alpha = 1, beta = p.accumulate ? 1.0f : 0.0f;
  PASSNORM_CALL(lt().cublasLtMatmul(handle_, chosen.operation, &alpha, o.b, chosen.b, o.a, chosen.a,
                                    &beta, o.y, chosen.y, o.y, chosen.y, &chosen.chosen.algo,
                                    workspace.data(), chosen.chosen.workspaceSize,
                                    static_cast<cudaStream_t>(stream_.handle())));
}

}  // namespace kernels
}  // namespace passnorm
