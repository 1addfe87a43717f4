"""One module per family. Importing this package registers them all."""

from converters.architectures import llama, mixtral

__all__ = ["llama", "mixtral"]
