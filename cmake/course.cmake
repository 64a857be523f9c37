# The course: tutorials/NN_name/, each a small program with tests (cmake/lessons.cmake).
#
#   headshare_course_support   what a student's folder links: the libraries, tutorials/support/, the tracer
#   headshare_course           every lesson with its solutions, for those who only read, and for the tests
set(tutorials ${PROJECT_SOURCE_DIR}/tutorials)

file(GLOB support_sources CONFIGURE_DEPENDS ${tutorials}/support/*.cpp)
set(check_sources ${tutorials}/support/check.cpp ${tutorials}/support/test_main.cpp)
list(REMOVE_ITEM support_sources ${check_sources})
add_library(headshare_lesson STATIC EXCLUDE_FROM_ALL ${support_sources})
target_link_libraries(headshare_lesson PUBLIC headshare_nn)
# Objects, not an archive: of a function that a student defines too, the linker would never look for ours in an archive.
add_library(headshare_lesson_check OBJECT EXCLUDE_FROM_ALL ${check_sources})
target_link_libraries(headshare_lesson_check PUBLIC headshare_lesson headshare_doctest)

add_custom_target(headshare_course_support)
add_dependencies(headshare_course_support headshare_lesson headshare_lesson_check)
set(HEADSHARE_COURSE_DEVICE ${headshare_device})
set(HEADSHARE_TRACER_OBJECTS)
if(TARGET headshare_tracer)
  set(HEADSHARE_TRACER_OBJECTS $<TARGET_OBJECTS:headshare_tracer>)
  add_dependencies(headshare_course_support headshare_tracer)
endif()

# ---- For students' folders -------------------------------------------------------------------------------------------
configure_file(${CMAKE_CURRENT_LIST_DIR}/headshare_course.cmake.in ${PROJECT_BINARY_DIR}/headshare_course.cmake.in @ONLY)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/headshare_course.cmake
     INPUT ${PROJECT_BINARY_DIR}/headshare_course.cmake.in TARGET headshare_lesson_check)

# ---- In this project -------------------------------------------------------------------------------------------------
# Solutions and stubs in one program, chosen when it runs (tutorials/support/step.h), so that the tests of the course
# compile every lesson once. nvcc, which would not accept that choice inside a kernel, compiles the solutions alone.
if(headshare_device STREQUAL "cuda")
  set(form reference)
else()
  set(form switchable)
endif()

add_custom_target(headshare_course)
set(lesson_numbers)
include(${CMAKE_CURRENT_LIST_DIR}/lessons.cmake)

# headshare_lesson_form(RESULT FORM FOLDER): the lesson's gap files in another form, written when they are needed.
function(headshare_lesson_form result form folder)
  get_filename_component(name ${folder} NAME)
  set(files)
  foreach(file lesson.cpp lesson.cu)
    if(EXISTS ${folder}/${file})
      set(written ${PROJECT_BINARY_DIR}/tutorials/${form}/${name}/${file})
      list(APPEND files ${written})
      add_custom_command(
        OUTPUT ${written}
        COMMAND headshare tutor form ${form} ${folder}/${file} ${written}
        DEPENDS ${folder}/${file}
        COMMENT "${name}/${file}, ${form}"
        VERBATIM)
    endif()
  endforeach()
  set(${result} ${files} PARENT_SCOPE)
endfunction()

file(GLOB lesson_texts CONFIGURE_DEPENDS ${tutorials}/[0-9][0-9]_*/text.md)
foreach(text IN LISTS lesson_texts)
  get_filename_component(folder ${text} DIRECTORY)
  get_filename_component(name ${folder} NAME)
  string(SUBSTRING ${name} 0 2 number)
  headshare_lesson_form(gaps ${form} ${folder})
  headshare_lesson(${folder} "${gaps}" "${folder}/test.cpp;${folder}/hidden.cpp")
  set_target_properties(lesson_${number} lesson_${number}_tests lesson_${number}_gaps PROPERTIES
                        EXCLUDE_FROM_ALL TRUE RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tutorials)
  add_dependencies(headshare_course lesson_${number} lesson_${number}_tests)
  list(APPEND lesson_numbers ${number})

  # What students get must compile too; it is not linked with anything.
  headshare_lesson_form(stubs student ${folder})
  if(headshare_device STREQUAL "simulated")
    set_source_files_properties(${stubs} PROPERTIES LANGUAGE CXX)
  endif()
  add_library(lesson_${number}_student OBJECT EXCLUDE_FROM_ALL ${stubs})
  target_include_directories(lesson_${number}_student PRIVATE ${folder})
  target_link_libraries(lesson_${number}_student PRIVATE headshare_lesson)
  target_compile_options(lesson_${number}_student PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-O0 -Wno-unused> $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
  add_dependencies(headshare_course lesson_${number}_student)
endforeach()
