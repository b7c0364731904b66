"""Any history of orders, crashes and lost links: what must hold at every single sound."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.protocols.documents import OrderClass, OrderState, Phase
from devices.speaker import events as e
from tests.devices.speaker.world import CITY, DISTRICT, STREET, S, World, an_order


@dataclass
class Watched(World):
    """Looks at every start as an inspector would, from what has been published and what is on disk."""

    def _do(self, effect: e.Effect) -> None:
        if isinstance(effect, e.Play):
            plan = self.loaded[effect.ticket]
            standing = self.state.orders[plan.order]
            order = standing.order
            assert order.state is OrderState.IN_FORCE
            assert order.start_at <= self.utc < order.expires
            assert plan.repeat <= order.repeat
            assert (plan.use == "exercise") == (plan.order.startswith("exercise/"))
            assert (plan.segments[0].kind == "preface") == (plan.use == "exercise")
            assert standing.claim.stream.split("/")[5] == plan.use
            on_disk = {(x.kind, x.key): x.value for x in self.disk}
            assert f'"running":{plan.repeat}' in str(on_disk["mark", plan.order])
        super()._do(effect)

    def feed(self, event_type: Any, **fields: Any) -> list[e.Effect]:
        effects = super().feed(event_type, **fields)
        playing = [x for x in effects if isinstance(x, e.Play)]
        persists = [x for x in effects if isinstance(x, e.Persist)]
        assert len(playing) <= 1
        assert len(persists) <= 1
        if persists:
            before = effects[: effects.index(persists[0])]
            assert all(isinstance(x, e.Stop) for x in before)
        return effects


ACTIONS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.tuples(
        st.just("order"),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["actual", "actual", "exercise"]),
        st.sampled_from([CITY, STREET]),
        st.integers(1, 4),
        st.sampled_from([OrderClass.EMERGENCY, OrderClass.DAILY]),
        st.integers(1, 3),
        st.sampled_from([OrderState.IN_FORCE, OrderState.IN_FORCE, OrderState.WITHDRAWN]),
        st.sampled_from([(), ("a",), ("b", "c")]),
        st.integers(-30, 60),
    ),
    st.tuples(st.just("correct"), st.sampled_from(["a", "b", "c"]), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 30)),
    st.tuples(st.just("lose"), st.integers(0, 30)),
    st.tuples(st.just("fail"), st.sampled_from(["say", "chime", ""])),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(ACTIONS, min_size=3, max_size=25))
def test_nothing_is_heard_twice_and_nothing_sounds_that_should_not(actions: list[tuple[Any, ...]]) -> None:
    world = Watched()
    world.up()
    revisions: Counter[str] = Counter()
    for action in actions:
        match action:
            case ("wait", tenths):
                world.advance(tenths / 10)
            case ("order", id, use, area, level, order_class, repeat, state, supersedes, start_s):
                revisions[use + id] += 1
                order = an_order(
                    id,
                    rev=revisions[use + id],
                    status=use,
                    level=level,
                    order_class=order_class,
                    repeat=repeat,
                    state=state,
                    supersedes=supersedes,
                    start_at=world.utc + start_s * S,
                    expires=world.utc + 120 * S,
                )
                world.order(order, use=use, area=area)
            case ("correct", id, also):
                revisions["sorry" + id] += 1
                correction = an_order(f"sorry-{id}", rev=revisions["sorry" + id], phase=Phase.CORRECTION, corrects=id)
                world.order(
                    replace(correction, start_at=world.utc, expires=world.utc + 120 * S, also_unstarted=also),
                    area=DISTRICT,
                )
            case ("crash", seconds):
                world.crash().advance(seconds).boot().connect()
            case ("lose", seconds):
                world.disconnect().advance(seconds).connect()
            case ("fail", kind):
                world.failures = {kind: "broken"} if kind else {}
    world.failures = {}
    world.advance(600)
    whole = Counter((h.use, h.order, h.repeat) for h in world.heard if h.to_end)
    assert max(whole.values(), default=1) == 1
    assert world.state.sound.sounding is None
    assert world.state.live == ()
    seqs = [r.seq for r in world.receipts]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
