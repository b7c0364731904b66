"""Law 11: where many speakers refuse what was given out, health says so, and for actual orders a red incident.

Looks into the speakers' own papers: what each holds of a stream, and what it has said that it refuses there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devices.protocols.documents import KeyUse
from devices.protocols.topics import parse_manifest_topic
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.refused_documents import DOCUMENTS_REFUSED, MANY_MIN
from services.dispatcher.engine.rows import Stream
from simulators.checks import Truth
from simulators.endpoint import SimulatedSpeaker

SAID_WITHIN_US = 120_000_000
"""The time to mend, the timers, and a heartbeat that was lost."""


class Obedience:
    """Remembers since when many speakers refuse each stream."""

    def __init__(
        self, truth: Truth, speakers: Sequence[SimulatedSpeaker], reachable: Callable[[SimulatedSpeaker, int], bool]
    ) -> None:
        self._truth, self._speakers, self._reachable = truth, speakers, reachable
        self._since_us: dict[str, int] = {}

    def look(self, now_us: int) -> None:
        """Hold the incidents against what speakers refuse; called again and again while all parts are well."""
        rows = self._truth.database.rows(Stream).values()
        # Whatever is signed there meanwhile: a stream that nobody obeys is signed anew again and again.
        many = {row.id for row in rows if self._many(row, now_us)}
        self._since_us = {topic: self._since_us.get(topic, now_us) for topic in many}
        told = [i.headline for i in self._truth.database.rows(Incident).values() if i.hazard == DOCUMENTS_REFUSED]
        for topic, since_us in sorted(self._since_us.items()):
            if now_us - since_us < SAID_WITHIN_US or parse_manifest_topic(topic).use is not KeyUse.ACTUAL:
                continue
            self._truth.counts["refusals.checked"] += 1
            if not any(topic in headline for headline in told):
                said = f"many speakers refuse {topic}, and no red incident says so"
                self._truth.broken(11, topic, said)

    def forget(self) -> None:
        """Parts were away: what is refused has its time anew."""
        self._since_us = {}

    def _many(self, stream: Stream, now_us: int) -> bool:
        refusing = meant = 0
        for speaker in self._speakers:
            papers = speaker.state.papers
            where = parse_manifest_topic(stream.id).name
            config = papers.config
            if config is None or where not in (speaker.id, *config.area_chain, *config.overlay):
                continue
            meant += 1
            if not self._reachable(speaker, now_us - SAID_WITHIN_US):
                continue
            held = papers.streams.get(stream.id)
            refusing += bool(papers.said.get(stream.id)) and (held is None or held.version < stream.manifest_version)
        return refusing >= MANY_MIN and refusing * 2 > meant
