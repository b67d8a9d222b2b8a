# One target per folder. A folder's sources are the .cc files in it; its headers are included from the root.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(msa_options INTERFACE)
target_compile_options(msa_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror>)
target_compile_definitions(msa_options INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
target_include_directories(msa_options INTERFACE ${PROJECT_SOURCE_DIR})
if(MSA_SANITIZE)
  target_compile_options(msa_options INTERFACE -fsanitize=${MSA_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(msa_options INTERFACE -fsanitize=${MSA_SANITIZE})
  target_compile_definitions(msa_options INTERFACE MSA_SANITIZE="${MSA_SANITIZE}")
endif()

# msa_library(NAME [DEPS ...]): the static library of the current folder.
function(msa_library name)
  cmake_parse_arguments(arg "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC msa_options ${arg_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE msa_options ${arg_DEPS})
  endif()
endfunction()

# msa_test(NAME [DEPS ...] [LABELS ...]): one test program from the current folder's *_test.cc files.
function(msa_test name)
  cmake_parse_arguments(arg "" "" "DEPS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE msa_options ${arg_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE MSA_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
    MSA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600 LABELS "${arg_LABELS}")
endfunction()
