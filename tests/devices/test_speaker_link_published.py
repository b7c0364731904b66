"""What is published of the speaker link says what the code does: topics, limits, documents, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from devices.protocols import asking, canary, document_json, documents, jws, report_json, selector, strict_json
from devices.protocols import speaker_link as link
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.speaker_link import KeyUse
from devices.speaker.choice import Obstacle
from devices.speaker.sounding import NO_PREFACE
from devices.speaker.standing import ACTUAL_ORDER
from tests.data.speaker_link import make

FILE = Path(link.__file__).with_name("asyncapi.yaml")
API: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SCHEMAS = API["components"]["schemas"]
BEYOND_A_SCHEMA: dict[str, dict[str, str]] = {
    "manifest_contents": {
        "fresh_until 0": "compares two members",
        "orders.0.expires 1800000000000000": "compares two members",
        "swept 1800000000000001": "compares two members",
        "one order twice": "compares two orders",
        "byte order mark": "a parser strips it",
        'orders.0.selector {"shapes": [{"ring": [[0, 0], [1, 1], [2, 4], [3,  … (1211 characters)': "counted over all",
        "fraction": "a schema takes 1.0 for 1",
        "exponent": "a schema takes 1e0 for 1",
        "member twice": "a parser keeps one of the two",
        "lone surrogate": "a parser lets it through",
    },
    "key_documents": {
        'keys.1.kid "actual-city"': "compares two keys",
        'keys.1.x "BM5eZCLeeMjbBpd8qw5W4tzwtL-XV9u2gxKw1GtPx6Q"': "compares two keys",
    },
    "configs": {'overlay ["210202000000"]': "compares two lists"},
    "hello_answers": {},
}
"""Vectors that are refused although the schema allows them, and why it cannot see it."""


def valid(schema: str, value: object) -> bool:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": SCHEMAS}}
    return bool(Draft202012Validator(whole).is_valid(value))


def test_addresses_are_the_topics() -> None:
    values = {"area": "a", "use": "actual", "issuer": "i", "speaker": "s", "kid": "k"}
    addresses = {name: channel["address"].format(**values) for name, channel in API["channels"].items()}
    assert addresses == {
        "keys": link.KEYS_TOPIC,
        "areaManifest": link.manifest_topic("a", KeyUse.ACTUAL, "i"),
        "speakerManifest": link.speaker_manifest_topic("s", KeyUse.ACTUAL, "i"),
        "config": link.config_topic("s"),
        "state": link.state_topic("s"),
        "receipt": link.receipt_topic("s"),
        "hello": link.hello_topic("s"),
        "helloAnswer": link.hello_answer_topic("s"),
        "ask": link.ask_topic("s"),
        "answer": link.answer_topic("s"),
        "canary": canary.canary_topic("k"),
    }


def test_every_reference_leads_somewhere() -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(target := value.get("$ref"), str):
                at: Any = API
                for step in target.removeprefix("#/").split("/"):
                    at = at[step]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(API)


def test_message_limits_and_types_are_the_codes() -> None:
    messages = API["components"]["messages"]
    assert {name: message["x-bytes-max"] for name, message in messages.items() if "x-bytes-max" in message} == {
        "keys": documents.KEYS_BYTES_MAX,
        "manifest": documents.MANIFEST_BYTES_MAX,
        "config": documents.CONFIG_BYTES_MAX,
        "helloAnswer": documents.HELLO_ANSWER_BYTES_MAX,
        "canary": canary.CANARY_BYTES_MAX,
        "hello": documents.HELLO_BYTES_MAX,
        "state": documents.STATE_BYTES_MAX,
        "receipt": documents.RECEIPT_BYTES_MAX,
        "ask": asking.ASK_BYTES_MAX,
        "answer": asking.ANSWER_BYTES_MAX,
    }
    assert {message["x-typ"] for message in messages.values() if "x-typ" in message} == set(jws.Typ)


def test_member_limits_are_the_codes() -> None:
    order, audio = SCHEMAS["Order"]["properties"], SCHEMAS["Audio"]["properties"]
    config, step = SCHEMAS["SpeakerConfig"]["properties"], SCHEMAS["Step"]["properties"]
    for said, meant in (
        (SCHEMAS["Integer"]["maximum"], documents.INTEGER_MAX),
        (SCHEMAS["Manifest"]["properties"]["orders"]["maxItems"], documents.MANIFEST_ORDERS_MAX),
        (order["texts"]["additionalProperties"]["maxLength"], documents.TEXT_CHARS_MAX),
        (order["repeat"]["maximum"], documents.REPEAT_MAX),
        (order["gap_s"]["maximum"], documents.GAP_S_MAX),
        (audio["bytes"]["maximum"], documents.AUDIO_BYTES_MAX),
        (audio["ms"]["maximum"], documents.AUDIO_MS_MAX),
        (SCHEMAS["AudioBase"]["maxLength"], documents.BASE_CHARS_MAX),
        (SCHEMAS["Selector"]["properties"]["shapes"]["maxItems"], selector.SELECTOR_VERTICES_MAX),
        (SCHEMAS["Selector"]["properties"]["speakers"]["maxItems"], selector.SELECTOR_SPEAKERS_MAX),
        (SCHEMAS["Shape"]["oneOf"][1]["properties"]["radius_m"]["maximum"], selector.RADIUS_M_MAX),
        (SCHEMAS["KeyDocument"]["properties"]["keys"]["maxItems"], documents.KEYS_MAX),
        (SCHEMAS["StreamVersions"]["maxProperties"], documents.HELLO_STREAMS_MAX),
        (SCHEMAS["SpeakerState"]["properties"]["cached"]["maxItems"], documents.STATE_CACHED_MAX),
        (SCHEMAS["Receipt"]["properties"]["steps"]["maxItems"], documents.RECEIPT_STEPS_MAX),
        (config["accepted_spread_ms"]["maximum"], documents.ACCEPTED_SPREAD_MS_MAX),
        (config["starts_per_hour_max"]["maximum"], documents.STARTS_PER_HOUR_MAX),
        (config["staged"]["maxItems"], documents.STAGED_MAX),
        (step["reason"]["maxLength"], documents.REASON_CHARS_MAX),
        (SCHEMAS["ReceiptNumbers"]["maxItems"], asking.ASKED_RECEIPTS_MAX),
        (SCHEMAS["Correlation"]["maxLength"], asking.CORRELATION_CHARS_MAX),
    ):
        assert said == meant
    assert set(step["kind"]["enum"]) == set(link.StepKind)
    assert set(SCHEMAS["SpeakerState"]["properties"]["power"]["enum"]) == set(report_json.POWER)


def _payload(raw: str) -> object:
    return json.loads(jws.decode_base64url(raw.split(".")[1]))


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("manifest_contents", "Manifest"),
        ("manifest_scopes", "Manifest"),
        ("key_documents", "KeyDocument"),
        ("configs", "SpeakerConfig"),
        ("hello_answers", "HelloAnswer"),
    ],
)
def test_schema_allows_every_accepted_document(file: str, schema: str) -> None:
    cases = json.loads((Path(make.__file__).parent / f"{file}.json").read_text(encoding="utf-8"))
    accepted = [case for case in cases if "refused" not in case]
    assert accepted
    assert [case["name"] for case in accepted if not valid(schema, _payload(case["raw"]))] == []


def test_a_canary_is_as_the_schema_says() -> None:
    key = jws.SigningKey.from_seed("actual-1", b"a" * 32)
    raw = canary.sign_canary(canary.Canary("actual-1", KeyUse.ACTUAL, "gw-0", "n" * 22, 1), key)
    assert valid("Canary", _payload(raw.decode()))
    assert not any(valid(schema, _payload(raw.decode())) for schema in ("Manifest", "SpeakerConfig", "HelloAnswer"))


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("manifest_contents", "Manifest"),
        ("key_documents", "KeyDocument"),
        ("configs", "SpeakerConfig"),
        ("hello_answers", "HelloAnswer"),
    ],
)
def test_schema_refuses_the_forms_that_the_code_refuses_but_for_the_named_exceptions(file: str, schema: str) -> None:
    cases = json.loads((Path(make.__file__).parent / f"{file}.json").read_text(encoding="utf-8"))
    allowed = set()
    for case in cases:
        if case.get("refused") in ("malformed", "over_cap"):
            try:
                value = _payload(case["raw"])
            except (ValueError, RecursionError):
                continue
            if valid(schema, value):
                allowed.add(case["name"])
    assert allowed == set(BEYOND_A_SCHEMA[file])


@pytest.mark.parametrize(
    ("kind", "schema"),
    [("receipt", "Receipt"), ("state", "SpeakerState"), ("hello", "Hello"), ("ask", "Ask"), ("answer", "Answer")],
)
def test_schema_and_code_agree_about_reports(kind: str, schema: str) -> None:
    cases = json.loads((Path(make.__file__).parent / "reports.json").read_text(encoding="utf-8"))
    no_value = {
        "no payload",
        "8,193 bytes",
        "257 bytes",
        "16,385 bytes",
        "half a receipt",
        "3,000 open brackets",
        "lone surrogate as evidence",
    }
    for case in cases:
        if case["kind"] == kind and case["name"] not in no_value:
            assert (case["name"], valid(schema, json.loads(case["raw"]))) == (case["name"], case["refused"] is None)


PAGE = FILE.with_name("README.md").read_text(encoding="utf-8")


def rows_between(start: str, end: str) -> list[str]:
    """The rows of the one table between two lines of the page."""
    lines = PAGE[PAGE.index(start) : PAGE.index(end)].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return table[2:]


def test_readme_lists_every_refusal_with_its_sentence() -> None:
    rows = rows_between("\n## 6. Refusals\n", "\n### Reasons in the receipts of an order\n")
    assert rows == [f"| `{code}` | {sentence} |" for code, sentence in link.SENTENCES.items()]


def test_readme_lists_every_reason_that_our_speaker_gives() -> None:
    rows = rows_between("\n### Reasons in the receipts of an order\n", "\n## 7. Limits\n")
    listed = {row.split("`")[1] for row in rows}
    speaker = Path(link.__file__).parents[1] / "speaker"
    source = "".join((speaker / file).read_text("utf-8") for file in ("choice.py", "sounding.py", "machine.py"))
    ends = {ACTUAL_ORDER, *re.findall(r'(?:_finish_off|cut|_silence)\(t(?:, key)?, "(\w+)"', source)}
    said = ends | {str(Obstacle.NOT_MINE), str(Obstacle.WITHDRAWN), str(Obstacle.UNHEARD), str(Obstacle.MISSED)}
    assert {"preempted", "expired", "stopping", "superseded"} <= ends
    assert listed == said | {NO_PREFACE, "restart", str(Refusal.ORDER_EXPIRED), str(Refusal.RATE_LIMITED)}


def refusal_of(**changes: object) -> Refusal | None:
    """Why a manifest whose order has these members is refused."""
    members = make.plain(make.MANIFEST)
    try:
        document_json.decode_manifest(
            strict_json.canonical({**members, "orders": [{**members["orders"][0], **changes}]})
        )
    except LinkRefused as refused:
        return refused.reason
    return None


def limit_row(what: str) -> str:
    rows = dict(row.strip("| ").split(" | ") for row in rows_between("\n## 7. Limits\n", "\n## 8. Test vectors\n"))
    return rows[what]


def test_readme_says_which_limits_are_over_cap() -> None:
    assert limit_row("supersedes") == f"{documents.SUPERSEDES_MAX} ids†"
    assert refusal_of(supersedes=[f"o-{n}" for n in range(17)]) is Refusal.OVER_CAP
    assert limit_row("event code; origin") == (
        "32 of `A-Za-z0-9._:-`; 8 members† with names of 32 characters and texts of 256†"
    )
    assert refusal_of(event_code="x" * 33) is Refusal.MALFORMED
    assert refusal_of(origin={f"m{n}": "x" for n in range(9)}) is Refusal.OVER_CAP
    assert refusal_of(origin={"cap": "x" * 257}) is Refusal.OVER_CAP
    assert refusal_of(origin={"m" * 33: "x"}) is Refusal.MALFORMED
    assert limit_row("repeats, gap") == "10,000 and 3,600 s"
    assert (refusal_of(repeat=10_001), refusal_of(gap_s=3_601)) == (Refusal.MALFORMED, Refusal.MALFORMED)
    assert limit_row("text").startswith("500 characters a language†, 8 languages†")
    assert refusal_of(texts={"zh": "字" * 501}) is Refusal.OVER_CAP
    assert limit_row("config").endswith("16 staged recordings†")
    with pytest.raises(LinkRefused) as staged:
        document_json.decode_config(strict_json.canonical({**make.plain(make.CONFIG), "staged": [make.STAGED] * 17}))
    assert staged.value.reason is Refusal.OVER_CAP
    assert limit_row("header of a signed document") == "400 characters of base64url"
    with pytest.raises(LinkRefused) as header:
        jws.header(b"A" * 401 + b"." + b"A" * 8 + b"." + b"A" * 86)
    assert header.value.reason is Refusal.MALFORMED


def test_readers_take_what_stands_at_its_default_and_in_any_order() -> None:
    assert [refusal_of(also_unstarted=False), refusal_of(supersedes=[]), refusal_of(origin={})] == [None] * 3
    assert [refusal_of(corrects=None), refusal_of(origin=None)] == [Refusal.MALFORMED] * 2
    manifest = make.plain(make.MANIFEST)
    shuffled = json.dumps(dict(reversed(manifest.items())), indent=1).encode()
    assert document_json.decode_manifest(shuffled) == document_json.decode_manifest(strict_json.canonical(manifest))
