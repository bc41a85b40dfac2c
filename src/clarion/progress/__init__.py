"""Progress of long work: one object in async code, threads, process pools and the workers of task queues."""

from clarion.progress.options import TaskOptions
from clarion.progress.progress import Progress, current_progress
from clarion.progress.step import Step
from clarion.progress.tasks import Task, TaskFunction, Tasks

__all__ = ["Progress", "Step", "Task", "TaskFunction", "TaskOptions", "Tasks", "current_progress"]
