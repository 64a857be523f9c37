# Which commit is this program? A build that is a day old must not claim yesterday's, so every build asks git again; the
# answer is a small C++ file that is rewritten only when it changes. This file is both halves: included by
# CMakeLists.txt it makes that target; run by it as a script (cmake -P) it writes the file.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(version_source ${PROJECT_BINARY_DIR}/version.cpp)
  add_custom_target(headshare_ask_for_commit
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${version_source} -DVERSION=${PROJECT_VERSION}
            "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}"
            -P ${CMAKE_CURRENT_LIST_FILE}
    BYPRODUCTS ${version_source}
    COMMENT ""
    VERBATIM)
  add_library(headshare_version STATIC ${version_source})
  target_include_directories(headshare_version PUBLIC ${PROJECT_SOURCE_DIR})
  add_dependencies(headshare_version headshare_ask_for_commit)
  return()
endif()

# What the program is made of; a change elsewhere, in a text or a test, does not make it another program.
set(parts core kernels tensor autograd nn cli cmake CMakeLists.txt)

# headshare_git(RESULT ARGUMENTS...): what git prints; nothing where that fails.
function(headshare_git result)
  set(output)
  if(GIT)
    execute_process(COMMAND ${GIT} --no-optional-locks ${ARGN} WORKING_DIRECTORY ${SOURCE}
                    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT status EQUAL 0)
      set(output)
    endif()
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

find_program(GIT git)
set(commit unknown)
headshare_git(checkout rev-parse --show-toplevel)
get_filename_component(source ${SOURCE} REALPATH)
# Sources that were unpacked inside somebody else's checkout do not have that checkout's commit.
if("${checkout}" STREQUAL "${source}")
  headshare_git(head rev-parse --short=12 HEAD)
  if(head)
    headshare_git(changes status --porcelain -- ${parts})
    set(commit ${head})
    if(changes)
      string(APPEND commit +changes)
    endif()
  endif()
endif()

set(contents "// Written by cmake/version.cmake.
#include \"cli/version.h\"

namespace headshare::cli {
const char* program_version() { return \"${VERSION}\"; }
const char* program_commit() { return \"${commit}\"; }
const char* program_compiler() { return \"${COMPILER}\"; }
}  // namespace headshare::cli
")
set(before)
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT "${before}" STREQUAL "${contents}")
  file(WRITE ${OUTPUT} "${contents}")
endif()
