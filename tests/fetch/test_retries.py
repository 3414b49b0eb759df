"""When a failed request is made again, and how long a pull waits in all; the clock is the event loop's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from aiodocker_lite.errors import (
    AccessDenied,
    ImageNotFound,
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    RegistryUnreachable,
)
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.settings import Settings

CUT = RegistryUnavailable("r.example.com", "cut")
PERMANENT = [
    AccessDenied("app", "anonymous"),
    ImageNotFound("app"),
    RegistryMisbehaved("r", "it answered 400"),
    RegistryUnreachable("r", "refused"),
]


@dataclass
class Action:
    """Fails with one error after the other, and then succeeds."""

    errors: list[RegistryError]
    calls: int = 0
    pauses: list[float] = field(default_factory=list)

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7

    def note(self, error: RegistryError, pause: float) -> None:
        self.pauses.append(pause)

    async def run(self, pauses: Sequence[float] = (0,) * 5, patience: float = 60) -> int:
        return await Retries(pauses, patience).attempt(self, self.note)


async def test_five_failures_are_one_too_few_to_give_up() -> None:
    """R19: the sixth is the last, also by default."""
    assert len(Settings().pauses) == 5
    assert await Action([CUT] * 5).run() == 7
    action = Action([CUT] * 6)
    with pytest.raises(RegistryUnavailable):
        await action.run()
    assert action.calls == 6


@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: type(error).__name__)
async def test_what_will_not_change_is_not_asked_again(error: RegistryError) -> None:
    """R19: nor after something that might have."""
    action = Action([CUT, error])
    with pytest.raises(type(error)):
        await action.run()
    assert action.calls == 2


async def test_a_pause_is_anything_up_to_its_most() -> None:
    """Full jitter: a hundred clients that failed together come back one by one."""
    firsts, seconds = [], []
    for _ in range(100):
        action = Action([CUT] * 2)
        await action.run((0.002, 0.004))
        first, second = action.pauses
        firsts.append(first)
        seconds.append(second)
    for pauses, most in ((firsts, 0.002), (seconds, 0.004)):
        assert 0 <= min(pauses) < most / 5
        assert most * 4 / 5 < max(pauses) <= most
        assert statistics.mean(pauses) == pytest.approx(most / 2, rel=0.3)


@pytest.mark.parametrize("kind", [RateLimited, RegistryUnavailable])
async def test_the_registry_may_ask_for_more(kind: type[RateLimited | RegistryUnavailable]) -> None:
    """Retry-After is the least, and what is added keeps clients apart."""
    action = Action([kind("r", "slow down", 0.02)])
    await action.run((0.01,))
    assert 0.02 <= action.pauses[0] <= 0.03


async def test_fifty_requests_wait_no_longer_than_one() -> None:
    """One budget for a pull: each of them would have tried five times."""
    retries = Retries((0,) * 5, 0.1)
    busy = RateLimited("r", "slow down", 0.03)
    waited, failed = 0.0, 0
    for _ in range(50):
        action = Action([busy] * 4)
        try:
            await retries.attempt(action, action.note)
        except RateLimited:
            failed += 1
        waited += sum(action.pauses)
    assert failed == 50
    assert 0.06 < waited <= 0.1


async def test_waiting_at_the_same_time_counts_once() -> None:
    """Six streams that meet the same trouble have what one would have."""
    retries = Retries((0.0,), 0.1)
    actions = [Action([RateLimited("r", "slow down", 0.06)]) for _ in range(6)]
    async with anyio.create_task_group() as tasks:
        for action in actions:
            tasks.start_soon(retries.attempt, action, action.note)
    assert [action.calls for action in actions] == [2] * 6
    late = Action([RateLimited("r", "slow down", 0.06)])
    with pytest.raises(RateLimited) as caught:
        await retries.attempt(late, late.note)
    assert caught.value.__notes__ == ["this pull has waited 0 s for answers"]


async def test_progress_costs_nothing() -> None:
    """A link that breaks every few megabytes is a bad link, and the pull goes on all day."""
    retries, pauses = Retries((0.001, 0.001), 0.004), []
    tries = retries.tries()
    for _ in range(50):
        await tries.pause_after(CUT, progressed=True, on_retry=lambda error, pause: pauses.append(pause))
    assert sum(pauses) > 0.01
    await tries.pause_after(CUT, progressed=False, on_retry=lambda error, pause: None)
    with pytest.raises(RegistryUnavailable):
        await tries.pause_after(CUT, progressed=False, on_retry=lambda error, pause: None)
