"""Refusals of the speaker link: why a document, an order or a report is not obeyed. Codes and sentences only."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """A machine-readable reason; its sentence for people stands in SENTENCES."""

    EMPTY_PAYLOAD = "empty_payload"
    OVER_CAP = "over_cap"
    MALFORMED = "malformed"
    HEADER = "header"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    KEY_EXPIRED = "key_expired"
    KEY_USE = "key_use"
    NOT_ISSUER = "not_issuer"
    KEY_AREA = "key_area"
    KEY_LEVEL = "key_level"
    STREAM_MISMATCH = "stream_mismatch"
    STATUS_MISMATCH = "status_mismatch"
    AREA_NOT_MINE = "area_not_mine"
    WRONG_NONCE = "wrong_nonce"
    VERSION_BACK = "version_back"
    VERSION_CONFLICT = "version_conflict"
    VERSION_AHEAD = "version_ahead"
    STALE = "stale"
    NO_CLOCK = "no_clock"
    NO_CONFIG = "no_config"
    NO_KEYS = "no_keys"
    ORDER_EXPIRED = "order_expired"
    RATE_LIMITED = "rate_limited"
    NO_AUDIO_NO_SPEECH = "no_audio_no_speech"


SENTENCES: dict[Refusal, str] = {
    Refusal.EMPTY_PAYLOAD: "The retained message is empty; what was held before stays in force.",
    Refusal.OVER_CAP: "The message breaks a size or count limit of the speaker link.",
    Refusal.MALFORMED: "The message does not have the form that the speaker link prescribes.",
    Refusal.HEADER: "The signature header is not exactly alg, kid and typ, or its algorithm is not the one of the key.",
    Refusal.WRONG_TYPE: "The document is signed as another kind than this topic carries.",
    Refusal.UNKNOWN_KEY: "The signing key does not stand in the key document that is held.",
    Refusal.BAD_SIGNATURE: "The signature does not fit the bytes and the key.",
    Refusal.KEY_EXPIRED: "The signing key is past the end of its validity.",
    Refusal.KEY_USE: "The signing key may not be used for this kind of document or stream.",
    Refusal.NOT_ISSUER: "The signing key belongs to another issuer than the stream or the order.",
    Refusal.KEY_AREA: "The signing key's area does not contain the area of the document.",
    Refusal.KEY_LEVEL: "The signing key may not sign an order of this level.",
    Refusal.STREAM_MISMATCH: "The name inside the signed bytes is not the topic that carried them.",
    Refusal.STATUS_MISMATCH: "An order's status, actual or exercise, is not the use of its stream.",
    Refusal.AREA_NOT_MINE: "The stream is for an area or speaker that this speaker does not belong to.",
    Refusal.WRONG_NONCE: "The answer does not carry the nonce that was asked with.",
    Refusal.VERSION_BACK: "The version is older than the one already held.",
    Refusal.VERSION_CONFLICT: "The version is held already with other bytes; the first bytes stay.",
    Refusal.VERSION_AHEAD: "The version lies more than ten minutes ahead of the verified clock.",
    Refusal.STALE: "The document was no longer fresh when it arrived.",
    Refusal.NO_CLOCK: "Freshness cannot be tested, because no verified clock has been received.",
    Refusal.NO_CONFIG: "The speaker holds no signed configuration and cannot tell what is meant for it.",
    Refusal.NO_KEYS: "The speaker holds no key document that its root has signed.",
    Refusal.ORDER_EXPIRED: "The order had expired before it could start.",
    Refusal.RATE_LIMITED: "The speaker has started as often in the last hour as its configuration allows.",
    Refusal.NO_AUDIO_NO_SPEECH: "Neither the recording nor local speech nor a recorded phrase was available.",
}


class LinkRefused(Exception):
    """A message of the speaker link was refused; `reason` is the code, `detail` names the member at fault."""

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        super().__init__(f"{SENTENCES[reason]} ({detail})" if detail else SENTENCES[reason])
        self.reason = reason
        self.detail = detail
