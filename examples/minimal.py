"""The shortest app: one stream, one way to send to a user.

clarion run examples.minimal:app
curl -N 'http://127.0.0.1:8000/events?user=ann'
curl -X POST http://127.0.0.1:8000/notify/ann -H 'content-type: application/json' -d '{"text": "hello"}'
"""

from fastapi import FastAPI
from pydantic import BaseModel

from clarion import Hub

hub = Hub()  # or Hub("sqlite:///events.db"), which outlives the process
app = FastAPI(lifespan=hub.lifespan)


class Note(BaseModel):
    text: str


@app.get("/events")
async def events(user: str):  # whoever they say they are; examples/auth.py does it properly
    return hub.stream(topics=["news", "orders/*"], user=user)


@app.post("/notify/{user_id}")
async def notify(user_id: str, note: Note):
    receipt = await hub.send_to_user(user_id, note, event="notification")
    return {"id": receipt.id, "sent": receipt.clients}
