# Read by CMake right after the `project()` of llama-cpp-python, from a folder that holds scipy_openblas32 and cblas.h.
# Whatever has no OpenMP is built as ever: its threads are what OpenBLAS computes with here.
find_package(OpenMP COMPONENTS CXX)
if(OpenMP_CXX_FOUND)
    set(library "${CMAKE_CURRENT_LIST_DIR}/scipy_openblas32/lib/libscipy_openblas.so")
    set(GGML_BLAS ON CACHE BOOL "")
    set(GGML_BLAS_VENDOR OpenBLAS CACHE STRING "")
    set(BLAS_LIBRARIES "${library};OpenMP::OpenMP_CXX" CACHE STRING "")
    set(BLAS_INCLUDE_DIRS "${CMAKE_CURRENT_LIST_DIR}" CACHE PATH "")
    install(FILES "${library}" DESTINATION "${SKBUILD_PLATLIB_DIR}/llama_cpp/lib")
endif()
