# Every library comes from the system (scripts/setup installs the Debian packages); nothing is downloaded.
# What a static library of ours links is found again by passnormConfig.cmake.in for those who use the installed package.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl CONFIG REQUIRED)  # its package looks for OpenCL too: opencl-headers, ocl-icd-opencl-dev
find_package(hwy CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(turbojpeg REQUIRED IMPORTED_TARGET libturbojpeg)
pkg_check_modules(png REQUIRED IMPORTED_TARGET libpng)
if(PROJECT_IS_TOP_LEVEL)  # the program
  find_package(CLI11 CONFIG REQUIRED)
  find_package(tomlplusplus CONFIG REQUIRED)
  find_package(fmt CONFIG REQUIRED)
endif()
if(PASSNORM_BENCH)
  find_package(benchmark CONFIG REQUIRED)
endif()
if(PASSNORM_TESTS)
  find_package(GTest REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()
