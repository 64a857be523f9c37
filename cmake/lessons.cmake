# How a lesson of the course is compiled: in this project (cmake/course.cmake) and in a student's folder, where
# headshare_course.cmake, written into the build folder, includes this file.

# headshare_lesson(FOLDER GAPS TESTS): lesson_NN, which shows the steps, and lesson_NN_tests. FOLDER holds the lesson's
# other files, GAPS are its lesson.cpp and lesson.cu, TESTS its tests. Lessons with CUDA kernels are compiled so that
# the tracer sees every access, where this build has the tracer.
function(headshare_lesson folder gaps tests)
  get_filename_component(name ${folder} NAME)
  string(SUBSTRING ${name} 0 2 number)
  set(kernels ${gaps})
  list(FILTER kernels INCLUDE REGEX "[.]cu$")
  set(tracer)
  if(kernels AND NOT HEADSHARE_COURSE_DEVICE STREQUAL "cuda")
    set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)
    if(HEADSHARE_TRACER_OBJECTS)
      set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "${headshare_traced_options}")
      set(tracer ${HEADSHARE_TRACER_OBJECTS})
    endif()
  endif()

  add_library(lesson_${number}_gaps OBJECT ${gaps})
  target_include_directories(lesson_${number}_gaps PRIVATE ${folder})
  target_link_libraries(lesson_${number}_gaps PRIVATE headshare_lesson)
  target_compile_options(lesson_${number}_gaps PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)

  # The tracer stands before the gaps and the libraries: see cmake/traced.cmake.
  add_executable(lesson_${number} ${folder}/main.cpp ${tracer} $<TARGET_OBJECTS:lesson_${number}_gaps>)
  target_link_libraries(lesson_${number} PRIVATE headshare_lesson)
  add_executable(lesson_${number}_tests ${tests} ${tracer} $<TARGET_OBJECTS:lesson_${number}_gaps>)
  target_link_libraries(lesson_${number}_tests PRIVATE headshare_lesson_check headshare_lesson)
  foreach(program lesson_${number} lesson_${number}_tests)
    target_include_directories(${program} PRIVATE ${folder})
    # What is taught runs as released; what shows and tests it compiles in half the time.
    target_compile_options(${program} PRIVATE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
    if(tracer)
      target_link_libraries(${program} PRIVATE ${CMAKE_DL_LIBS})
    endif()
  endforeach()
endfunction()
