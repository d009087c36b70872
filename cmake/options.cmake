# How our own code is compiled.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(CCACHE_PROGRAM ccache)
  mark_as_advanced(CCACHE_PROGRAM)
  if(CCACHE_PROGRAM AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endif()

set(CMAKE_CXX_EXTENSIONS OFF)

# For our targets only: linked as $<BUILD_INTERFACE:...>, so no flag reaches an embedding project.
add_library(passnorm_options INTERFACE)
target_compile_features(passnorm_options INTERFACE cxx_std_20)
# passnorm_warn(flags...): for the host compiler, by way of nvcc in .cu files.
function(passnorm_warn)
  string(JOIN "," forwarded ${ARGN})
  target_compile_options(passnorm_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:${ARGN}>" $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${forwarded}>)
endfunction()
# Options are structs with designated initialisers that name only what differs from the default.
passnorm_warn(-Wall -Wextra -Wshadow -Wno-missing-field-initializers -ffp-contract=fast -fno-math-errno -fno-trapping-math)
# Calls are bound at the start: a call that is bound when it is first made saves the vector registers, and what a cipher
# left in them, to the stack.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(passnorm_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  passnorm_warn(-Wno-restrict)  # false on "text" + std::string: GCC bug 105651
endif()
# An embedding project with a newer compiler must not fail on a new warning; and g++ warns of correct code (maybe
# uninitialised, string overflow) once sanitizers have put their checks into it.
if(PROJECT_IS_TOP_LEVEL AND NOT PASSNORM_SANITIZE)
  target_compile_options(passnorm_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
endif()

if(PASSNORM_SANITIZE)
  set(passnorm_sanitize_flags -fsanitize=${PASSNORM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${passnorm_sanitize_flags} -g1)
  add_link_options(${passnorm_sanitize_flags})
endif()
