# What is needed from the system (Debian 12 package names in parentheses).
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(absl CONFIG REQUIRED)           # libabsl-dev
find_package(nlohmann_json CONFIG REQUIRED)  # nlohmann-json3-dev
find_package(spdlog CONFIG REQUIRED)         # libspdlog-dev
find_package(SQLite3 REQUIRED)               # libsqlite3-dev
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)  # libxxhash-dev
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)        # libhwy-dev
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)  # libpcre2-dev
find_package(ICU REQUIRED COMPONENTS uc)     # libicu-dev
if(NOT MSA_CORE_ONLY)
  find_package(Protobuf REQUIRED)            # libprotobuf-dev protobuf-compiler
  find_package(gRPC CONFIG REQUIRED)         # libgrpc++-dev protobuf-compiler-grpc
  find_package(prometheus-cpp CONFIG REQUIRED)  # prometheus-cpp-dev
  find_package(CLI11 CONFIG REQUIRED)        # libcli11-dev
  find_package(yaml-cpp CONFIG REQUIRED)     # libyaml-cpp-dev
endif()
if(MSA_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)        # libgtest-dev libgmock-dev
  find_package(benchmark CONFIG REQUIRED)    # libbenchmark-dev
  include(GoogleTest)
endif()
