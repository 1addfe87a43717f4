"""llama.cpp, through llama-cpp-python's low-level API. The only package that imports llama_cpp.

Everything here may crash the process (a failed assert in llama.cpp calls abort), so it runs in the child (`worker`),
never in the process that holds the results store.
"""
