"""The tasks: what is asked of a model, how it may answer, and how the answer is judged. A file a task, a row here."""

from gguf_bench.tasks.eps import EPS_EXTRACTION
from gguf_bench.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (EPS_EXTRACTION,)}

__all__ = ["TASKS", "Task"]
