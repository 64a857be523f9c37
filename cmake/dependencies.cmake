# Four libraries of headers alone. The system's packages are taken where they are new enough; otherwise the archive is
# downloaded once and checked against its SHA256. Each becomes a target headshare_NAME; all are SYSTEM, since their
# warnings are not ours.
include(FetchContent)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)  # unpacked files carry the time of unpacking, so that a new pin is rebuilt
endif()

# headshare_download(NAME URL SHA256 FOLDER): unpacks the archive; its headers are in FOLDER.
function(headshare_download name url sha256 folder)
  message(STATUS "${name}: not installed or too old, downloading ${url}")
  # SOURCE_SUBDIR names a folder that does not exist: only the headers are wanted, not the library's own build.
  FetchContent_Declare(headshare_${name} URL ${url} URL_HASH SHA256=${sha256} SOURCE_SUBDIR headers_only)
  FetchContent_MakeAvailable(headshare_${name})
  add_library(headshare_${name} INTERFACE)
  target_include_directories(headshare_${name} SYSTEM INTERFACE ${headshare_${name}_SOURCE_DIR}/${folder})
endfunction()

# headshare_dependency(NAME MINIMUM URL SHA256 FOLDER): the system's package NAME, or the download.
function(headshare_dependency name minimum url sha256 folder)
  find_package(${name} CONFIG QUIET)
  if(${name}_FOUND AND ${name}_VERSION VERSION_GREATER_EQUAL minimum)
    message(STATUS "${name}: ${${name}_VERSION} of the system")
    add_library(headshare_${name} INTERFACE)
    target_link_libraries(headshare_${name} INTERFACE ${name}::${name})
  else()
    headshare_download(${name} ${url} ${sha256} ${folder})
  endif()
endfunction()

headshare_dependency(doctest 2.4.8
  https://github.com/doctest/doctest/archive/refs/tags/v2.4.11.tar.gz
  632ed2c05a7f53fa961381497bf8069093f0d6628c5f26286161fbd32a560186 .)
headshare_dependency(cxxopts 3.1
  https://github.com/jarro2783/cxxopts/archive/refs/tags/v3.1.1.tar.gz
  523175f792eb0ff04f9e653c90746c12655f10cb70f1d5e6d6d9491420298a08 include)
# Without std::regex, in which every file of commands would compile six expressions whenever a program starts, and which
# runs out of stack on a long argument.
target_compile_definitions(headshare_cxxopts INTERFACE CXXOPTS_NO_REGEX)
headshare_dependency(nlohmann_json 3.10
  https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d include)

# stb has neither versions nor a package file.
find_path(HEADSHARE_STB_INCLUDE stb_image_write.h PATH_SUFFIXES stb)
if(HEADSHARE_STB_INCLUDE)
  message(STATUS "stb: of the system")
  add_library(headshare_stb INTERFACE)
  target_include_directories(headshare_stb SYSTEM INTERFACE ${HEADSHARE_STB_INCLUDE})
else()
  headshare_download(stb
    https://github.com/nothings/stb/archive/5736b15f7ea0ffb08dd38af21067c314d6a3aae9.tar.gz
    d00921d49b06af62aa6bfb97c1b136bec661dd11dd4eecbcb0da1f6da7cedb4c .)
endif()
