# The web pages that the server carries in itself: the files of src/api/ui as a C++ source of the room `api`.
file(GLOB ui_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/api/ui/*)
set(ui_source ${CMAKE_BINARY_DIR}/generated/ui_files.cc)
add_custom_command(
  OUTPUT ${ui_source}
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/embed.py ${ui_source} ${ui_files}
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/embed.py ${ui_files}
  COMMENT "The web pages" VERBATIM)
target_sources(hansa_api PRIVATE ${ui_source})
