"""What a child process can be asked to do: a module a job, which `worker` imports by the job's name.

`work(job, emit, lines)` of each does it.
"""
