"""`python -m gguf_bench` is the `gguf-bench` command."""

from gguf_bench.cli import main

if __name__ == "__main__":
    main()
