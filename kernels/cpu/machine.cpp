#include "kernels/runtime/machine.hpp"

#include "hwy/targets.h"
#include "kernels/cpu/onednn.hpp"

namespace passnorm {
namespace {

std::string name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx2_vnni:
      return "AVX2 with VNNI";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512 with VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512 with bf16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AMX";
    default:
      return "no vectors that it names";
  }
}

/// Highway counts AVX-512 as the third AVX.
std::string usual_name(std::string target) {
  constexpr std::string_view kThird = "AVX3";
  return target.starts_with(kThird) ? "AVX-512" + target.substr(kThird.size()) : target;
}

}  // namespace

CpuKernels cpu_kernels() {
  CpuKernels out;
  const dnnl_version_t& v = *dnnl::version();
  out.convolution = concat("oneDNN ", v.major, ".", v.minor, ".", v.patch);
  out.convolution_vectors = name_of(dnnl::get_effective_cpu_isa());
  // A better set has a lower bit.
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1)
    out.vectors.push_back(usual_name(hwy::TargetName(left & -left)));
  return out;
}

}  // namespace passnorm
