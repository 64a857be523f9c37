# Kernels that are watched: each .cu once more, compiled so that every load and store calls the tracer
# (kernels/simulator/tracer/), in two programs: headshare_trace, which `headshare trace` starts, and the tests of all
# kernels with every access checked. The tracer reads ELF files and stands in for the library of GCC's thread sanitizer,
# whose calls the compiler puts into the code; the address sanitizer cannot be there at the same time.
if(NOT headshare_device STREQUAL "simulated" OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux"
   OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR CMAKE_BUILD_TYPE STREQUAL "Asan")
  message(STATUS "Tracer: not in this build (it needs the simulated device, Linux and GCC without other sanitizers)")
  return()
endif()

# Only while compiling, never while linking: the sanitizer's own library would define the same functions.
#   -fno-var-tracking: lines are wanted, not where variables are; half of the time otherwise
#   -O1 -fno-tree-sra: accesses stay as they are written; a float4 is loaded whole, as on a GPU
#   -fno-optimize-sibling-calls: the address that a call returns to is in the line that made it
#   -finline...: what nvcc does with every device function; also, a structure that a called function returns straight
#   into memory is a store without a hook
set(headshare_traced_options
    -Wno-unknown-pragmas -O1 -g -fno-var-tracking -fno-tree-sra -fno-optimize-sibling-calls -fno-extern-tls-init
    -fsanitize=thread,bounds --param=tsan-instrument-func-entry-exit=0
    -finline-functions -finline-small-functions --param=max-inline-insns-auto=1000 --param=max-inline-insns-single=2000
    --param=inline-unit-growth=1000 --param=large-function-growth=10000 --param=large-stack-frame-growth=10000)

# headshare_traced_objects(NAME SOURCES...): the .cu files, watched.
function(headshare_traced_objects name)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  add_library(${name} OBJECT ${ARGN})
  target_compile_options(${name} PRIVATE ${headshare_traced_options})
  target_link_libraries(${name} PRIVATE headshare_kernels)
endfunction()
headshare_traced_objects(headshare_traced ${cuda_sources})

# The simulator and the tracer themselves must not be watched. They stand before the watched objects where a program is
# linked: of a function of the standard library that both contain, the linker takes the first.
file(GLOB tracer_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/simulator/tracer/*.cpp)
add_library(headshare_tracer OBJECT ${tracer_sources} ${simulator_sources})
target_link_libraries(headshare_tracer PRIVATE headshare_kernels)

# headshare_traced_program(NAME SOURCES...): its kernels are the watched ones. Those of the library come too late in the
# order of linking to be taken.
function(headshare_traced_program name)
  add_executable(${name} ${ARGN} $<TARGET_OBJECTS:headshare_tracer> $<TARGET_OBJECTS:headshare_traced>)
  target_link_libraries(${name} PRIVATE headshare_kernels headshare_cxxopts)
endfunction()

# ---- headshare trace -------------------------------------------------------------------------------------------------
file(GLOB trace_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/trace/*.cpp)
headshare_traced_program(headshare_trace ${trace_sources} ${PROJECT_SOURCE_DIR}/cli/command.cpp
                         ${PROJECT_SOURCE_DIR}/nn/precision.cpp)  # the latter: what options are called, no model
# Not a dependency of `headshare`: who only wants to train need not compile every kernel twice.

# ---- The tests of the tracer, and those of all kernels under it ------------------------------------------------------
set(tests ${PROJECT_SOURCE_DIR}/tests)
file(GLOB traced_examples CONFIGURE_DEPENDS ${tests}/traced/*.cu)
headshare_traced_objects(headshare_traced_examples ${traced_examples})
file(GLOB traced_tests CONFIGURE_DEPENDS ${tests}/traced/test_*.cpp ${tests}/test_*_kernel.cpp
     ${tests}/test_*_kernels.cpp ${tests}/test_*_ladder.cpp ${tests}/test_decode_attention.cpp)
list(FILTER trace_sources EXCLUDE REGEX "main[.]cpp$")
headshare_traced_program(headshare_traced_tests ${tests}/main.cpp ${traced_tests} ${trace_sources}
                         $<TARGET_OBJECTS:headshare_traced_examples>)
target_link_libraries(headshare_traced_tests PRIVATE headshare_doctest)
target_compile_options(headshare_traced_tests PRIVATE $<$<CONFIG:Release>:-O1>)
add_dependencies(headshare_traced_tests headshare_trace)
target_compile_definitions(headshare_traced_tests PRIVATE HEADSHARE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                           HEADSHARE_TRACE_COMMAND="$<TARGET_FILE:headshare_trace>")

foreach(file IN LISTS traced_tests)
  get_filename_component(name ${file} NAME_WE)
  add_test(NAME traced_${name} COMMAND headshare_traced_tests --source-file=*/${name}.cpp)
  set_tests_properties(traced_${name} PROPERTIES
    LABELS traced
    TIMEOUT 900
    FAIL_REGULAR_EXPRESSION "test cases: +0 [|]"
    ENVIRONMENT "HEADSHARE_TEST_DEVICE=cuda;OMP_NUM_THREADS=2;OMP_WAIT_POLICY=passive")
endforeach()
