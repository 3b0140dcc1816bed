# find_package(waft) after `make install`: the imported library waft::waft.
get_filename_component(_waft_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET waft::waft)
  add_library(waft::waft STATIC IMPORTED)
  set_target_properties(waft::waft PROPERTIES
    IMPORTED_LOCATION "${_waft_prefix}/lib/libwaft.a"
    INTERFACE_COMPILE_DEFINITIONS WAFT_HOSTED
    INTERFACE_INCLUDE_DIRECTORIES "${_waft_prefix}/include")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    set_target_properties(waft::waft PROPERTIES INTERFACE_LINK_LIBRARIES "pthread;dl;m")
  endif()
endif()
unset(_waft_prefix)
set(waft_FOUND TRUE)
