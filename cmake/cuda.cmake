# What becomes of kernels/*.cu. For a real GPU nvcc compiles them. Everywhere else the C++ compiler does, together with
# the simulated device (kernels/simulator/), which runs them on the processor.
file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
file(GLOB simulator_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/simulator/*.cpp)
find_program(HEADSHARE_NVCC nvcc HINTS /usr/local/cuda/bin)
find_program(HEADSHARE_NVIDIA_SMI nvidia-smi)

# ---- Which one -------------------------------------------------------------------------------------------------------
set(headshare_device ${HEADSHARE_DEVICE})
if(headshare_device STREQUAL "auto")
  set(headshare_device simulated)
  if(HEADSHARE_NVCC AND HEADSHARE_NVIDIA_SMI)
    execute_process(COMMAND ${HEADSHARE_NVIDIA_SMI} -L RESULT_VARIABLE result OUTPUT_VARIABLE gpus ERROR_QUIET)
    if(result EQUAL 0 AND gpus MATCHES "GPU 0")
      set(headshare_device cuda)
    endif()
  endif()
endif()
message(STATUS "Device::cuda: ${headshare_device}")

if(headshare_device STREQUAL "cuda")
  if(NOT HEADSHARE_NVCC)
    message(FATAL_ERROR "HEADSHARE_DEVICE=cuda needs nvcc, of the CUDA Toolkit; put its bin folder into PATH")
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${HEADSHARE_NVCC})
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)  # of the GPU that is here: "9.0" becomes 90
    execute_process(COMMAND ${HEADSHARE_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
                    OUTPUT_VARIABLE capability ERROR_QUIET)
    string(REGEX MATCH "[0-9]+[.][0-9]" capability "${capability}")
    string(REPLACE "." "" capability "${capability}")
    if(NOT capability)
      message(FATAL_ERROR "HEADSHARE_DEVICE=cuda: no GPU answers; name one: -DCMAKE_CUDA_ARCHITECTURES=90")
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${capability})
  endif()
  # Instructions that Hopper alone has (kernels/matmul_hopper.cu) exist for "90a" only: code that no later GPU runs.
  list(TRANSFORM CMAKE_CUDA_ARCHITECTURES REPLACE "^90$" "90a")
  message(STATUS "Compute capability: ${CMAKE_CUDA_ARCHITECTURES}")
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 and older do not know that nvcc can do it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  find_package(CUDAToolkit REQUIRED)
endif()

# ---- Into the library ------------------------------------------------------------------------------------------------
# --expt-relaxed-constexpr: functions that are constexpr may be called in kernels, so that Philox and the element-wise
# functions exist once.
set(headshare_nvcc_options --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra)

function(headshare_add_cuda_kernels target)
  if(headshare_device STREQUAL "cuda")
    target_sources(${target} PRIVATE ${cuda_sources})
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${headshare_nvcc_options}>")
    target_link_libraries(${target} PUBLIC CUDA::cudart)
  else()
    set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX)
    add_library(headshare_simulated_kernels OBJECT ${cuda_sources})
    target_include_directories(headshare_simulated_kernels PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(headshare_simulated_kernels PRIVATE ${headshare_simulated_options})
    target_sources(${target} PRIVATE ${simulator_sources} $<TARGET_OBJECTS:headshare_simulated_kernels>)
  endif()
endfunction()

# -O2: -O3 unrolls kernels for the processor, which takes it up to seven times as long to compile and gains nothing.
# #pragma unroll is a word of CUDA's.
set(headshare_simulated_options $<$<CONFIG:Release>:-O2> -Wno-unknown-pragmas)
# __shared__ variables are thread-local and constant-initialized: no function is needed that does that at first use.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND headshare_simulated_options -fno-extern-tls-init)
endif()

# ---- Does nvcc accept them too? --------------------------------------------------------------------------------------
# headshare_nvcc_check: compiles every .cu for an old, a current and a new GPU, a warning is an error. Nothing is run.
# Beside every object lies what the compiler says about its kernels: registers, spills, shared memory (x.cu.o.txt).
set(headshare_nvcc_reports ${PROJECT_BINARY_DIR}/nvcc)
if(HEADSHARE_NVCC AND headshare_device STREQUAL "simulated")
  set(objects)
  file(GLOB lesson_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tutorials/*/lesson.cu)
  foreach(source IN LISTS cuda_sources lesson_kernels)
    set(targets)
    foreach(capability IN ITEMS 75 90 100)
      if(capability EQUAL 90 AND source MATCHES "_hopper[.]cu$")
        set(capability 90a)  # what only Hopper has
      endif()
      list(APPEND targets -gencode arch=compute_${capability},code=sm_${capability})
    endforeach()
    file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${source})
    string(REPLACE "/" "_" name ${name})
    set(object ${headshare_nvcc_reports}/${name}.o)
    list(APPEND objects ${object})
    add_custom_command(
      OUTPUT ${object} ${object}.txt
      COMMAND ${CMAKE_COMMAND} -DREPORT=${object}.txt -P ${PROJECT_SOURCE_DIR}/cmake/nvcc_report.cmake --
              ${HEADSHARE_NVCC} -std=c++20 ${headshare_nvcc_options} -Werror=all-warnings ${targets}
              -I${PROJECT_SOURCE_DIR} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} ${PROJECT_SOURCE_DIR}/cmake/nvcc_report.cmake
      DEPFILE ${object}.d
      COMMENT "nvcc ${name}"
      VERBATIM)
  endforeach()
  file(MAKE_DIRECTORY ${headshare_nvcc_reports})
  file(GLOB old_reports ${headshare_nvcc_reports}/*.o.txt)  # of sources that are gone
  foreach(report IN LISTS old_reports)
    string(REGEX REPLACE "[.]txt$" "" object ${report})
    if(NOT object IN_LIST objects)
      file(REMOVE ${report})
    endif()
  endforeach()
  add_custom_target(headshare_nvcc_check DEPENDS ${objects})
endif()
