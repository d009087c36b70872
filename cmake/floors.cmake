include(CheckCXXCompilerFlag)

# The sources of GLOBS (relative to the root) without EXCLUDE, in `out`.
function(passnorm_glob out)
  cmake_parse_arguments(PARSE_ARGV 1 GLOB "" "" "GLOBS;EXCLUDE")
  list(TRANSFORM GLOB_GLOBS PREPEND ${PROJECT_SOURCE_DIR}/)
  list(TRANSFORM GLOB_EXCLUDE PREPEND ${PROJECT_SOURCE_DIR}/)
  file(GLOB sources CONFIGURE_DEPENDS ${GLOB_GLOBS})
  list(REMOVE_ITEM sources ${GLOB_EXCLUDE})
  set(${out} ${sources} PARENT_SCOPE)
endfunction()

# A floor of the house: a static library of all sources of its folders; it may use its own headers and those below.
# Users link passnorm::<name>.
function(passnorm_floor name)
  cmake_parse_arguments(PARSE_ARGV 1 FLOOR "" "" "GLOBS;EXCLUDE;PUBLIC;PRIVATE")
  passnorm_glob(sources GLOBS ${FLOOR_GLOBS} EXCLUDE ${FLOOR_EXCLUDE})
  if(NOT sources)
    message(STATUS "passnorm_${name}: no sources yet, skipped")
    return()
  endif()
  foreach(library IN LISTS FLOOR_PUBLIC)
    if(library MATCHES "^passnorm_" AND NOT TARGET ${library})
      message(STATUS "passnorm_${name}: ${library} is missing, skipped")
      return()
    endif()
  endforeach()
  set(target passnorm_${name})
  add_library(${target} STATIC ${sources})
  add_library(passnorm::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  add_dependencies(${target} passnorm_version)
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Sources and users write "engine/tensor/tensor.hpp" and <passnorm/passnorm.hpp>; install.cmake keeps both.
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<BUILD_INTERFACE:${PASSNORM_GENERATED_DIR}>)
  target_link_libraries(${target} PUBLIC ${FLOOR_PUBLIC} PRIVATE ${FLOOR_PRIVATE} $<BUILD_INTERFACE:passnorm_options>)
endfunction()

# The files that Highway compiles once per instruction set. SSSE3 and SSE4 are left out (every CPU with them that
# matters has AVX2), and AVX3_DL, which no kernel needs. g++ and clang prefer 256-bit vectors unless told otherwise.
function(passnorm_simd_sources)
  passnorm_glob(sources GLOBS ${ARGN})
  if(NOT sources)
    return()
  endif()
  set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_DEFINITIONS "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL)")
  set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release,RelWithDebInfo>:-O3>)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    check_cxx_compiler_flag(-mprefer-vector-width=512 PASSNORM_HAS_PREFER_VECTOR_WIDTH)
    if(PASSNORM_HAS_PREFER_VECTOR_WIDTH)
      set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_OPTIONS -mprefer-vector-width=512)
    endif()
  endif()
endfunction()

# passnorm::passnorm: all floors that a program embeds.
function(passnorm_umbrella)
  add_library(passnorm INTERFACE)
  add_library(passnorm::passnorm ALIAS passnorm)
  foreach(floor IN LISTS ARGN)
    if(TARGET passnorm_${floor})
      target_link_libraries(passnorm INTERFACE passnorm_${floor})
    endif()
  endforeach()
endfunction()

# The program: cli/main.cpp on a library of the other files of cli/, which the tests link too.
function(passnorm_program)
  if(TARGET passnorm_bench)
    target_compile_definitions(passnorm_bench PUBLIC PASSNORM_BENCH)
  else()
    set(without_bench cli/bench.cpp)
  endif()
  passnorm_floor(commands GLOBS cli/*.cpp EXCLUDE cli/main.cpp ${without_bench}
    PUBLIC passnorm_verify $<TARGET_NAME_IF_EXISTS:passnorm_bench> PRIVATE CLI11::CLI11 tomlplusplus::tomlplusplus fmt::fmt)
  if(NOT TARGET passnorm_commands OR NOT EXISTS ${PROJECT_SOURCE_DIR}/cli/main.cpp)
    message(STATUS "passnorm_cli: no sources yet, skipped")
    return()
  endif()
  add_executable(passnorm_cli cli/main.cpp)
  set_target_properties(passnorm_cli PROPERTIES
    OUTPUT_NAME passnorm RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_link_libraries(passnorm_cli PRIVATE passnorm_commands passnorm_options)
endfunction()
