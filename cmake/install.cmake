# The package: <prefix>/bin/passnorm, the libraries, the headers with the folders they have here, and
# find_package(passnorm). All paths are relative to the prefix, which may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(passnorm_floors kernels engine models train verify)
set(passnorm_targets passnorm)
foreach(floor IN LISTS passnorm_floors)
  if(TARGET passnorm_${floor})
    list(APPEND passnorm_targets passnorm_${floor})
  endif()
endforeach()
# <passnorm/passnorm.hpp> is found under include/, the "engine/tensor/tensor.hpp" it names under include/passnorm/.
foreach(target IN LISTS passnorm_targets)
  target_include_directories(${target} INTERFACE
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/passnorm>)
endforeach()
install(TARGETS ${passnorm_targets} EXPORT passnormTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET passnorm_cli)
  install(TARGETS passnorm_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(DIRECTORY include/passnorm ${PASSNORM_GENERATED_DIR}/passnorm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN *.hpp)
foreach(floor IN LISTS passnorm_floors)
  # kernels/cpu and kernels/cuda are behind the contracts: their headers name vendor libraries.
  install(DIRECTORY ${floor} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/passnorm
    FILES_MATCHING PATTERN *.hpp PATTERN kernels/cpu EXCLUDE PATTERN kernels/cuda EXCLUDE)
endforeach()

set(passnorm_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/passnorm)
configure_package_config_file(cmake/passnormConfig.cmake.in ${PROJECT_BINARY_DIR}/package/passnormConfig.cmake
  INSTALL_DESTINATION ${passnorm_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/passnormConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/passnormConfig.cmake
  ${PROJECT_BINARY_DIR}/package/passnormConfigVersion.cmake DESTINATION ${passnorm_package_dir})
install(EXPORT passnormTargets NAMESPACE passnorm:: DESTINATION ${passnorm_package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
