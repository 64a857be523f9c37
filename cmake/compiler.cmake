# The flags of every C++ file of this project, dependencies excluded.
include(CheckCXXCompilerFlag)

# For C++ alone: nvcc, which compiles the CUDA kernels for a real GPU, knows other options (cuda.cmake).
function(headshare_compile_options)
  foreach(option IN LISTS ARGN)
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:${option}>)
  endforeach()
endfunction()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)  # editors read this

# Build types. Release has no asserts; Asan stops at the first bad access or undefined operation, and says in which
# line (-g1; to note where variables are would take as long as all other compiling).
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
set(CMAKE_CXX_FLAGS_ASAN
    "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer")
set(CMAKE_EXE_LINKER_FLAGS_ASAN "-fsanitize=address,undefined")

# Nothing here reads errno after a mathematical function or traps a floating-point exception, and both promises stop
# loops from being vectorized. Not -ffast-math: it reorders sums and assumes that NaN and infinity never happen.
headshare_compile_options(-fno-math-errno -fno-trapping-math)

headshare_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
if(CMAKE_BUILD_TYPE STREQUAL "Asan" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  headshare_compile_options(-Wno-maybe-uninitialized)  # GCC's own manual: false alarms together with the sanitizers
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  headshare_compile_options(-Wno-restrict)  # GCC 12 warns about "a" + std::string in its own library (its bug 105651)
endif()
if(HEADSHARE_WERROR)
  headshare_compile_options(-Werror)
endif()

# headshare_flag_if_known(NAME FLAG): adds FLAG where the compiler has it.
function(headshare_flag_if_known name flag)
  check_cxx_compiler_flag(${flag} HEADSHARE_HAS_${name})
  if(HEADSHARE_HAS_${name})
    headshare_compile_options(${flag})
  endif()
endfunction()

if(HEADSHARE_NATIVE)
  headshare_flag_if_known(MARCH_NATIVE -march=native)
  headshare_flag_if_known(WIDE_VECTORS -mprefer-vector-width=512)  # compilers prefer 256 bits even where 512 exist
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  headshare_flag_if_known(MARCH_X86_64_V3 -march=x86-64-v3)
endif()

# headshare_precompile(TARGET HEADER...): reads the standard library once for all files of a target, a third of their
# compiling. Under the sanitizers alone: in all other builds a file that forgets an #include does not compile.
function(headshare_precompile target)
  if(CMAKE_BUILD_TYPE STREQUAL "Asan")
    target_precompile_headers(${target} PRIVATE <algorithm> <array> <cmath> <cstdint> <filesystem> <functional>
      <iostream> <map> <memory> <optional> <set> <span> <sstream> <string> <string_view> <vector> ${ARGN})
  endif()
endfunction()
