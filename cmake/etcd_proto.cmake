# etcd's v3 API as C++: the protos of Debian's golang-etcd-server-dev, stripped and compiled at build time into a library
# of their own, without our warnings. Include as <etcd_proto/rpc.grpc.pb.h>.
pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc++ protobuf)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(etcd_out ${CMAKE_BINARY_DIR}/generated)
set(etcd_protos "")
set(etcd_sources "")
foreach(name kv auth rpc)
  list(APPEND etcd_protos ${etcd_out}/etcd_proto/${name}.proto)
  list(APPEND etcd_sources ${etcd_out}/etcd_proto/${name}.pb.cc)
endforeach()
list(APPEND etcd_sources ${etcd_out}/etcd_proto/rpc.grpc.pb.cc)
add_custom_command(
  OUTPUT ${etcd_sources}
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/strip_protos.py ${etcd_out}/etcd_proto
          /usr/share/gocode/src/go.etcd.io/etcd
  COMMAND ${PROTOC} -I ${etcd_out} --cpp_out=${etcd_out} --grpc_out=${etcd_out}
          --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN} ${etcd_protos}
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/strip_protos.py
  COMMENT "etcd's protos" VERBATIM)
add_library(hansa_etcd_proto STATIC ${etcd_sources})
target_include_directories(hansa_etcd_proto SYSTEM PUBLIC ${etcd_out})
target_compile_options(hansa_etcd_proto PRIVATE -w)
target_link_libraries(hansa_etcd_proto PUBLIC PkgConfig::GRPC)
set(HANSA_THIRD_etcd_proto hansa_etcd_proto)
set(HANSA_THIRD_grpcpp hansa_etcd_proto)
