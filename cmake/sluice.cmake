# How a directory becomes a library and its *_test.cc files a test program.

find_program(SLUICE_CCACHE ccache)
if(SLUICE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SLUICE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${SLUICE_CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

add_library(sluice_flags INTERFACE)
target_compile_options(sluice_flags INTERFACE
  -Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  # For what clang-tidy would take a third of its time: bugprone-reserved-identifier, bugprone-suspicious-semicolon,
  # modernize-use-nullptr, modernize-use-override.
  $<$<CXX_COMPILER_ID:Clang>:-Wreserved-identifier>
  -Wempty-body -Wzero-as-null-pointer-constant -Wsuggest-override
  $<$<CONFIG:Debug>:-O1 -g>
  $<$<CONFIG:Release>:-O2>)
target_compile_definitions(sluice_flags INTERFACE $<$<CONFIG:Debug>:SLUICE_DEBUG=1>)
target_include_directories(sluice_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
if(SLUICE_SANITIZE)
  # Null pointers and accesses beyond an object are found by the address sanitizer too, with less code; vptr would
  # check the type of every object that has one.
  target_compile_options(sluice_flags INTERFACE -g1 -fsanitize=${SLUICE_SANITIZE} -fno-omit-frame-pointer
                                                -fno-sanitize=null,object-size,vptr -fno-sanitize-recover=all)
  target_link_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE})
endif()

if(SLUICE_TESTS)
  if(CMAKE_CROSSCOMPILING)
    # Debian has its sources for every architecture (package googletest), its libraries for this one alone.
    set(INSTALL_GTEST OFF)
    set(BUILD_GMOCK OFF)
    add_subdirectory(/usr/src/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  else()
    find_package(GTest REQUIRED)
  endif()
endif()

# For code that computes next to nothing, linked after sluice_flags: sanitized, the frameworks' templates take most of
# a minute a file to optimise.
add_library(sluice_quick_flags INTERFACE)
if(SLUICE_SANITIZE)
  target_compile_options(sluice_quick_flags INTERFACE -O0)
else()
  target_compile_options(sluice_quick_flags INTERFACE $<$<CONFIG:Release>:-O1>)
endif()

# Tests keep the sanitizers that watch the code below them (addresses, threads), not those that watch a file itself:
# these take a quarter of its compile time.
add_library(sluice_test_flags INTERFACE)
if(SLUICE_SANITIZE)
  target_compile_options(sluice_test_flags INTERFACE -fno-sanitize=undefined)
endif()
target_link_libraries(sluice_test_flags INTERFACE sluice_quick_flags)

# sluice_test_program(NAME FILES sources... LIBS libraries... TIMEOUT seconds): the program NAME_test and its test NAME.
function(sluice_test_program NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "FILES;LIBS" ${ARGN})
  add_executable(${NAME}_test ${ARG_FILES})
  target_link_libraries(${NAME}_test PRIVATE ${ARG_LIBS} sluice_flags sluice_test_flags GTest::gtest GTest::gtest_main)
  target_include_directories(${NAME}_test PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${NAME}_test PRIVATE SLUICE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set_target_properties(${NAME}_test PROPERTIES UNITY_BUILD ${SLUICE_BATCHES})
  add_test(NAME ${NAME} COMMAND ${NAME}_test)
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

# sluice_floor(NAME [SEPARATE] [DEPS libs below...] [LIBS third-party targets...])
# The library is every *.cc of the directory (and of SUBDIRS) but *_test.cc, *_fuzz.cc and main.cc; each
# *_test.cc goes into the test program NAME_test. DEPS are public: a floor may use what its deps use.
# SEPARATE: its files use the same private names, so that they cannot be compiled in batches (CMAKE_UNITY_BUILD).
function(sluice_floor NAME)
  cmake_parse_arguments(ARG "SEPARATE" "" "DEPS;LIBS;SUBDIRS;TEST_LIBS" ${ARGN})
  set(patterns *.cc)
  foreach(sub ${ARG_SUBDIRS})
    list(APPEND patterns ${sub}/*.cc)
  endforeach()
  file(GLOB all CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${patterns})
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz|(^|/)main)\\.cc$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")

  list(TRANSFORM ARG_DEPS PREPEND sluice_)
  if(sources)
    add_library(sluice_${NAME} STATIC ${sources})
    target_link_libraries(sluice_${NAME} PUBLIC ${ARG_DEPS} Threads::Threads PRIVATE sluice_flags ${ARG_LIBS})
    if(ARG_SEPARATE)
      set_target_properties(sluice_${NAME} PROPERTIES UNITY_BUILD OFF)
    endif()
  else()
    add_library(sluice_${NAME} INTERFACE)
    target_link_libraries(sluice_${NAME} INTERFACE ${ARG_DEPS} Threads::Threads)
  endif()

  # Test libraries beyond GoogleTest are there for this machine alone.
  if(SLUICE_TESTS AND tests AND NOT (CMAKE_CROSSCOMPILING AND ARG_TEST_LIBS))
    sluice_test_program(${NAME} FILES ${tests} LIBS sluice_${NAME} ${ARG_LIBS} ${ARG_TEST_LIBS} TIMEOUT 600)
  endif()

  if(SLUICE_FUZZ AND fuzzers)
    # The library reports its branches to its fuzzers, which are blind otherwise.
    target_compile_options(sluice_${NAME} PRIVATE -fsanitize=fuzzer-no-link)
    foreach(fuzzer ${fuzzers})
      get_filename_component(fuzz_name ${fuzzer} NAME_WE)
      add_executable(${fuzz_name} ${fuzzer})
      target_compile_options(${fuzz_name} PRIVATE -fsanitize=fuzzer)
      target_link_options(${fuzz_name} PRIVATE -fsanitize=fuzzer)
      target_link_libraries(${fuzz_name} PRIVATE sluice_${NAME} sluice_flags ${ARG_LIBS})
    endforeach()
  endif()
endfunction()

# sluice_suite(NAME FILES... DEPS...): a test program that crosses floors.
function(sluice_suite NAME)
  cmake_parse_arguments(ARG "" "" "FILES;DEPS;LIBS" ${ARGN})
  if(NOT SLUICE_TESTS)
    return()
  endif()
  list(TRANSFORM ARG_DEPS PREPEND sluice_)
  sluice_test_program(${NAME} FILES ${ARG_FILES} LIBS ${ARG_DEPS} ${ARG_LIBS} TIMEOUT 900)
endfunction()
