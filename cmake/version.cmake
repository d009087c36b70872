# "passnorm/version.hpp": written at every build, changed (so that only its users compile again) when the commit changed.
set(PASSNORM_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
set(passnorm_version_arguments
  -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DTEMPLATE=${PROJECT_SOURCE_DIR}/cmake/version.hpp.in
  -DOUTPUT=${PASSNORM_GENERATED_DIR}/passnorm/version.hpp -DVERSION=${PROJECT_VERSION}
  "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
add_custom_target(passnorm_version
  COMMAND ${CMAKE_COMMAND} ${passnorm_version_arguments} -DBUILD_TYPE=$<CONFIG>
          -P ${PROJECT_SOURCE_DIR}/cmake/write_version.cmake
  BYPRODUCTS ${PASSNORM_GENERATED_DIR}/passnorm/version.hpp
  COMMENT "Writing passnorm/version.hpp" VERBATIM)
