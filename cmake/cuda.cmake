# CUDA kernels. AUTO takes what is there: this version has CPU kernels only.
string(TOUPPER "${PASSNORM_CUDA}" passnorm_cuda)
if(passnorm_cuda MATCHES "^(ON|EMULATED)$")
  message(FATAL_ERROR "PASSNORM_CUDA=${PASSNORM_CUDA}: this version has no CUDA kernels yet; use AUTO or OFF")
elseif(NOT passnorm_cuda MATCHES "^(AUTO|OFF)$")
  message(FATAL_ERROR "PASSNORM_CUDA is AUTO, ON, OFF or EMULATED, not '${PASSNORM_CUDA}'")
endif()
