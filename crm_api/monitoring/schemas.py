"""What the API says about the system."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crm_api.monitoring.alarms import ShownAlarm

Broker = Literal["up", "down", "blocked", "unknown"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is alive. mail_room_resting: workers that are up and send nothing, as the mail server lets them not."""

    broker: Broker
    dispatch_up: bool
    mail_room_up: int
    mail_room_of: int
    mail_room_resting: int
    alarms: tuple[ShownAlarm, ...]

    @property
    def well(self) -> bool:
        """Everything is up and nothing is wrong with it; whether messages failed is another question."""
        up = self.broker == "up" and self.dispatch_up and 0 < self.mail_room_up >= self.mail_room_of
        return up and not self.mail_room_resting and not self.alarms


@dataclass(frozen=True, slots=True)
class SystemState(Parts):
    """The small truth. waiting: pending, queued and deferred deliveries. failed: those that need a person."""

    waiting: int
    failed: int
    differences: int
    console_url: str | None


class AlarmOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: str = Field(description="one word, like route")
    sentence: str = Field(description="what is wrong")
    advice: str | None = Field(description="what to do; only for those who keep the mail going (system.mend)")
    since: datetime
    where: list[str] = Field(description="the processes that say so")


class SystemOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "well": False,
                "broker": "up",
                "dispatch_up": True,
                "mail_room_up": 2,
                "mail_room_of": 2,
                "mail_room_resting": 2,
                "alarms": [
                    {
                        "kind": "route",
                        "sentence": "The mail server mail.example.com:587 refuses our sign-in.",
                        "advice": "Put the right user name and password into POSTHASTE_SMTP_URL.",
                        "since": "2026-11-27T12:00:00Z",
                        "where": ["north/1", "north/2"],
                    }
                ],
                "waiting": 12,
                "failed": 1,
                "differences": 0,
                "console_url": "http://127.0.0.1:15672/",
            }
        },
    )

    well: bool = Field(description="everything is up and there is no alarm")
    broker: Broker = Field(description="as dispatch sees it; unknown while dispatch is down")
    dispatch_up: bool
    mail_room_up: int = Field(description="workers heard of within 15 s")
    mail_room_of: int = Field(description="workers that there should be")
    mail_room_resting: int = Field(description="workers that are up and send nothing: the mail server refuses us")
    alarms: list[AlarmOut] = Field(description="what is wrong and needs a person; the oldest first")
    waiting: int = Field(description="deliveries pending, queued or deferred")
    failed: int = Field(description="deliveries failed, unknown or bounced: a person is needed")
    differences: int = Field(description="what does not agree between database, broker and dead letters")
    console_url: str | None = Field(None, description="RabbitMQ's management console")


class Live(BaseModel):
    status: Literal["ok"] = "ok"
