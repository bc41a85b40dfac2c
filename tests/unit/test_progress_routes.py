import pytest
from fastapi import FastAPI, Header, HTTPException
from httpx import ASGITransport, AsyncClient

from clarion.errors import HubClosed, JournalUnavailable
from clarion.progress.routes import cancel_routes
from clarion.work.failures import NotCancellable, UnknownWork


class Hub:
    """A hub whose supervisor notes what it is asked."""

    def __init__(self):
        self.asked = []
        self.error = None

    @property
    def supervisor(self):
        return self

    async def cancel(self, work_id, *, user=None):
        self.asked.append((work_id, user))
        if self.error is not None:
            raise self.error


def user_of(x_user: str | None = Header(default=None)) -> str | None:
    if x_user == "banned":
        raise HTTPException(401)
    return x_user


@pytest.fixture
def hub():
    return Hub()


def client(hub, **options):
    app = FastAPI()
    app.include_router(cancel_routes(hub, current_user=user_of, **options))
    return AsyncClient(transport=ASGITransport(app), base_url="http://hub")


async def ask(client, task_id="import:42", user="ann"):
    return await client.post(f"/tasks/{task_id}/cancel", headers={} if user is None else {"x-user": user})


async def test_a_user_asks_to_stop_a_task(hub):
    answer = await ask(client(hub))
    assert (answer.status_code, answer.json()) == (202, {"taskId": "import:42", "cancelRequested": True})
    assert hub.asked == [("import:42", "ann")]


async def test_ids_with_levels(hub):
    assert (await ask(client(hub), "tasks/import/42")).status_code == 202
    assert hub.asked == [("tasks/import/42", "ann")]


async def test_without_a_rule_a_stranger_may_not(hub):
    assert (await ask(client(hub), user=None)).status_code == 403
    assert hub.asked == []


async def test_the_dependency_may_refuse(hub):
    assert (await ask(client(hub), user="banned")).status_code == 401
    assert hub.asked == []


async def only_ann(user, task_id):
    return user == "ann" and task_id == "import:42"


@pytest.mark.parametrize("rule", [only_ann, lambda user, task_id: user == "ann" and task_id == "import:42"])
async def test_the_app_decides_before_anybody_is_told_whether_there_is_such_a_task(hub, rule):
    hub.error = UnknownWork("x")
    asked = client(hub, can_cancel=rule)
    assert (await ask(asked, user="bob")).status_code == 403
    assert (await ask(asked, task_id="import:43")).status_code == 403
    assert hub.asked == []
    assert (await ask(asked)).status_code == 404
    hub.error = None
    assert (await ask(asked)).status_code == 202
    assert hub.asked[-1] == ("import:42", None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownWork("import:42"), 404),
        (NotCancellable("import:42"), 409),
        (JournalUnavailable("/srv/secret.db is locked"), 503),
        (HubClosed("x"), 503),
    ],
)
async def test_errors_as_answers(hub, error, status):
    hub.error = error
    answer = await ask(client(hub))
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("task_id", ["@all", "a%01b", "x" * 300, "orders/*"])
async def test_what_cannot_be_a_task_is_422(hub, task_id):
    assert (await ask(client(hub), task_id)).status_code == 422
    assert hub.asked == []


async def test_get_does_nothing(hub):
    assert (await client(hub).get("/tasks/import:42/cancel", headers={"x-user": "ann"})).status_code == 405


async def test_it_is_described(hub):
    paths = (await client(hub).get("/openapi.json")).json()["paths"]
    assert {"202", "403", "404", "409"} <= set(paths["/tasks/{task_id}/cancel"]["post"]["responses"])
