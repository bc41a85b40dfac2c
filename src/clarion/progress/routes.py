"""`POST /tasks/{task_id}/cancel`: asking a task or a generation to stop. The one file here that names FastAPI."""

# Annotations are not postponed here: FastAPI reads them, and those of inner functions name what is local.

import inspect
import logging
import random
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path
from starlette.concurrency import run_in_threadpool

from clarion.bodies import Refusal
from clarion.errors import HubClosed, InvalidTopic, JournalError
from clarion.topics import check_topic
from clarion.work.failures import NotCancellable, UnknownWork
from clarion.work.ports import HubPort

RETRY_AFTER_SECONDS: Final = 5  # told with a refusal; jittered, so that not all come back at once

User = str | None
Question = Callable[[User, str], Any]

logger = logging.getLogger("clarion.work")


def cancel_routes(
    hub: HubPort, *, current_user: Callable[..., Any] | None = None, can_cancel: Question | None = None
) -> APIRouter:
    """`POST /tasks/{task_id}/cancel`, answered 202 once the task is asked to stop; it says by its value that it did.

    current_user: a FastAPI dependency that gives the user's id, or None for a stranger. can_cancel(user, task_id):
    whether the user may stop that task; may be a coroutine function, plain ones run in a thread. Without it, a user may
    stop the tasks that were begun with `user=` that user, and nobody any other.

    Answers 403 to who may not, whether there is such a task or not; 404 if none is under way (also, without
    `can_cancel`, for other people's), 409 for one that was begun with `cancellable=False`, 422 for what cannot be an
    id, 503 if the journal fails.
    """
    routes = APIRouter()
    asking = Depends(current_user or _nobody)

    @routes.post(
        "/tasks/{task_id:path}/cancel",
        status_code=202,
        responses={status: {"model": Refusal} for status in (403, 404, 409, 503)},
    )
    async def cancel(
        task_id: Annotated[str, Path(description="The task's id, which is its topic.")],
        user: User = asking,
    ) -> dict[str, Any]:
        """Ask a task to stop."""
        try:
            check_topic(task_id)
        except InvalidTopic:
            raise HTTPException(422, "there cannot be such a task") from None
        if can_cancel is None:
            if user is None:
                raise HTTPException(403, "you may not cancel this task")
        elif not await _ask(can_cancel, user, task_id):
            raise HTTPException(403, "you may not cancel this task")
        try:
            await hub.supervisor.cancel(task_id, user=user if can_cancel is None else None)
        except UnknownWork:
            raise HTTPException(404, "no such task is under way") from None
        except NotCancellable:
            raise HTTPException(409, "this task cannot be cancelled") from None
        except (JournalError, HubClosed) as error:
            logger.error("task %r was not asked to stop: %s", task_id, error)
            seconds = RETRY_AFTER_SECONDS + random.randint(0, RETRY_AFTER_SECONDS)
            raise HTTPException(503, "not available now", {"retry-after": str(seconds)}) from None
        return {"taskId": task_id, "cancelRequested": True}

    return routes


def _nobody() -> None:
    return None


async def _ask(question: Question, user: User, task_id: str) -> Any:
    if inspect.iscoroutinefunction(question):
        return await question(user, task_id)
    answer = await run_in_threadpool(question, user, task_id)
    return await answer if inspect.isawaitable(answer) else answer
