"""Refusals: what people and programs are told when the answer is no. The class docstring is the sentence."""

from __future__ import annotations


class Refused(Exception):
    """The request was refused."""

    code = "refused"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """The clear sentence, with the particular of this case behind it."""
        plain = (self.__doc__ or "").strip().split("\n")[0]
        return f"{plain} ({self.detail})" if self.detail else plain


class NotFound(Refused):
    """There is nothing here under that id."""

    code = "not_found"


class NotAllowed(Refused):
    """This person has no role that may do this."""

    code = "not_allowed"


class NotYourOffice(Refused):
    """This task is asked of another office."""

    code = "not_your_office"


class AlreadyReleasedByYou(Refused):
    """You have released this already; a second person must read it too."""

    code = "same_person"


class AskedTwo(Refused):
    """Two people are asked at once, and you have answered as one of them; somebody else answers this one."""

    code = "asked_two"


class ApproverMissing(Refused):
    """One of the two people must be an approver."""

    code = "approver_missing"


class ContentChanged(Refused):
    """What you read has changed since; read it again and confirm."""

    code = "content_changed"


class SentenceDiffers(Refused):
    """The sentence you confirmed is not the sentence of this order."""

    code = "sentence_differs"


class WrongState(Refused):
    """This step does not fit the present state."""

    code = "wrong_state"


class StillOnAir(Refused):
    """Its alert is on air: stop it, correct it or give the all-clear first."""

    code = "still_on_air"


class ChangedOnAir(Refused):
    """What is on air there has changed since it was read: read it again."""

    code = "changed_on_air"


class UnknownOnAir(Refused):
    """The broker holds a newer manifest that is unknown here; nothing is published over it until a person decides."""

    code = "unknown_on_air"


class NoTargets(Refused):
    """No enrolled speaker stands where this order is meant for."""

    code = "no_targets"


class PlaceholderLeft(Refused):
    """These words still hold a placeholder that nothing fills; it would be read out."""

    code = "placeholder_left"


class OverCap(Refused):
    """This order does not fit the limits of the speaker link."""

    code = "over_cap"


class ResumeTooLate(Refused):
    """Resuming is possible for 60 seconds, by the person who stopped it; after that it needs a new release."""

    code = "resume_too_late"


class NoKey(Refused):
    """The signer holds no key for this use and area."""

    code = "no_key"


class OlderKeyDocument(Refused):
    """Another gateway has a newer key document: this one signs and compares nothing until it has that document, too."""

    code = "older_key_document"


class NoUsableKey(Refused):
    """No gateway can sign this now, so nothing would sound: put the key right, or call a drill off."""

    code = "no_usable_key"


class KeyEndsTooSoon(Refused):
    """The key would end before what it puts on air can be ended: make its successor first."""

    code = "key_ends_too_soon"


class PlanOutOfDate(Refused):
    """The plan behind this order is out of date; it was made again, so read it once more."""

    code = "plan_out_of_date"
