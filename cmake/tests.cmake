# Tests stand beside the code: <room>/**/*_test.cc become one program per room, which may also use the simulator's
# ports and the real ones. tests/CMakeLists.txt adds what needs the whole server.
find_package(GTest REQUIRED)
include(GoogleTest)

foreach(room IN LISTS HANSA_ROOMS)
  hansa_room_files(${room} "*_test.cc" "${HANSA_ROOMS}" files)
  if(files)
    string(REPLACE "/" "_" name "${room}")
    add_executable(${name}_test ${files})
    hansa_room_target(${room} library)
    target_link_libraries(${name}_test PRIVATE ${library} hansa_sim_ports hansa_io_asio GTest::gtest_main GTest::gmock)
    if(room MATCHES "^(registry|upkeep)$")
      target_link_libraries(${name}_test PRIVATE hansa_node)  # their tests run whole nodes
    endif()
    gtest_discover_tests(${name}_test TEST_PREFIX "${room}: " DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 300)
  endif()
endforeach()
# They need the server program, which comes from the room `server`.
if(TARGET hansa AND EXISTS ${CMAKE_SOURCE_DIR}/tests/CMakeLists.txt)
  add_subdirectory(tests)
endif()
