# The lessons of this folder. `headshare tutor check` calls this; by hand, and for an editor:
#
#   cmake -B build -DHEADSHARE_BUILD=the build folder of Headshare
#   cmake --build build
cmake_minimum_required(VERSION 3.22)
project(headshare_lessons LANGUAGES CXX)

if(NOT EXISTS "${HEADSHARE_BUILD}/headshare_course.cmake")
  message(FATAL_ERROR "-DHEADSHARE_BUILD=${HEADSHARE_BUILD}: needs the folder in which Headshare was built, such as "
                      "headshare/build/release")
endif()
include("${HEADSHARE_BUILD}/headshare_course.cmake")

file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/[0-9][0-9]_*/lesson.h)
foreach(header IN LISTS headers)
  get_filename_component(folder ${header} DIRECTORY)
  file(GLOB gaps ${folder}/lesson.cpp ${folder}/lesson.cu)
  file(GLOB tests ${folder}/test.cpp ${folder}/hidden.cpp)
  headshare_lesson(${folder} "${gaps}" "${tests}")
endforeach()
