# CUDA kernels. AUTO takes what is there: this version has CPU kernels only.
if(NOT PASSNORM_CUDA MATCHES "^(AUTO|ON|OFF|EMULATED)$")
  message(FATAL_ERROR "PASSNORM_CUDA is AUTO, ON, OFF or EMULATED, not '${PASSNORM_CUDA}'")
elseif(PASSNORM_CUDA MATCHES "^(ON|EMULATED)$")
  message(FATAL_ERROR "PASSNORM_CUDA=${PASSNORM_CUDA}: this version has no CUDA kernels yet; use AUTO or OFF")
endif()
