"""What the API says about the system."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Broker = Literal["up", "down", "blocked", "unknown"]


@dataclass(frozen=True, slots=True)
class SystemState:
    """The small truth. waiting: pending, queued and deferred deliveries. failed: those that need a person."""

    broker: Broker
    dispatch_up: bool
    mail_room_up: int
    mail_room_of: int
    waiting: int
    failed: int
    differences: int
    console_url: str | None


class SystemOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "broker": "up",
                "dispatch_up": True,
                "mail_room_up": 2,
                "mail_room_of": 2,
                "waiting": 12,
                "failed": 1,
                "differences": 0,
                "console_url": "http://127.0.0.1:15672/",
            }
        },
    )

    broker: Broker = Field(description="as dispatch sees it; unknown while dispatch is down")
    dispatch_up: bool
    mail_room_up: int = Field(description="workers heard of within 15 s")
    mail_room_of: int = Field(description="workers that there should be")
    waiting: int = Field(description="deliveries pending, queued or deferred")
    failed: int = Field(description="deliveries failed, unknown or bounced: a person is needed")
    differences: int = Field(description="what does not agree between database, broker and dead letters")
    console_url: str | None = Field(None, description="RabbitMQ's management console")


class Live(BaseModel):
    status: Literal["ok"] = "ok"
